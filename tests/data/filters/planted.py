"""Personal data and secrets as they come, made from a seed. None is written out here: scanners read this too."""

from __future__ import annotations

import base64
import json
import random
import string

from stdnum import luhn
from stdnum.de import idnr
from stdnum.iso7064 import mod_97_10

ALNUM = string.ascii_letters + string.digits


def token(rng: random.Random, n: int, of: str = ALNUM) -> str:
    return "".join(rng.choice(of) for _ in range(n))


def digits(rng: random.Random, n: int) -> str:
    return token(rng, n, string.digits)


def email(rng: random.Random) -> str:
    first, last, host = (token(rng, n, string.ascii_lowercase) for n in (6, 7, 8))
    return f"{first}.{last}@{host}.org"


def phone(rng: random.Random) -> str:
    rest = f"{rng.randint(200, 499)}-{digits(rng, 4)}"
    return rng.choice([f"({rng.choice(['650', '415', '212'])}) {rest}", f"+1 312 {rest}", f"617-{rest}"])


def card(rng: random.Random) -> str:
    body = "4539" + token(rng, 11, string.digits)
    number = body + luhn.calc_check_digit(body)
    return rng.choice([number, " ".join(number[i : i + 4] for i in range(0, 16, 4))])


def iban(rng: random.Random) -> str:
    # Structure only: Germany's has 18 digits after the check digits, which are 98 less the remainder of 97.
    bban = digits(rng, 18)
    return "DE" + mod_97_10.calc_check_digits(f"{bban}DE") + bban


def ssn(rng: random.Random) -> str:
    return f"{rng.randint(101, 650)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"


def german_tax_number(rng: random.Random) -> str:
    while True:
        if idnr.is_valid(number := digits(rng, 11)):
            return f"Steuer-ID {number}"


def ip(rng: random.Random) -> str:
    return f"{rng.choice([81, 93, 185])}.{rng.randint(20, 250)}.{rng.randint(20, 250)}.{rng.randint(1, 250)}"


def address(rng: random.Random) -> str:
    street = f"{rng.choice(['Linden', 'Harbour', 'Northfield'])} {rng.choice(['Street', 'Ave', 'Road'])}"
    return f"{rng.randint(200, 1700)} {street}, Apt {rng.randint(2, 80)}"


def birth_date(rng: random.Random) -> str:
    return f"date of birth: {rng.randint(1940, 2005)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


PERSONAL = {
    "email": email,
    "phone": phone,
    "card": card,
    "iban": iban,
    "national_id": ssn,
    "ip": ip,
    "address": address,
    "birth_date": birth_date,
}


def jwt(rng: random.Random) -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": digits(rng, 9), "n": token(rng, 12)}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, token(rng, 43)])


def private_key(rng: random.Random) -> str:
    lines = "\n".join(token(rng, 64, ALNUM + "+/") for _ in range(5))
    kind = rng.choice(["RSA ", "EC ", "OPENSSH ", ""])
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


SECRETS = {
    "private_key": private_key,
    "aws": lambda rng: "AK" + "IA" + token(rng, 16, string.ascii_uppercase + string.digits),
    "azure": lambda rng: "Account" + "Key=" + token(rng, 86) + "==",
    "google": lambda rng: "AI" + "za" + token(rng, 35),
    "github": lambda rng: "gh" + rng.choice(["p_", "o_", "s_"]) + token(rng, 36),
    "gitlab": lambda rng: "gl" + "pat-" + token(rng, 20),
    "registry": lambda rng: "np" + "m_" + token(rng, 36),
    "model_api": lambda rng: rng.choice(
        [
            "s" + "k-" + token(rng, 20) + "T3Blbk" + "FJ" + token(rng, 20),
            "s" + "k-ant-api03-" + token(rng, 90),
            "h" + "f_" + token(rng, 34),
            "s" + "k-proj-" + token(rng, 60),
        ]
    ),
    "messaging": lambda rng: rng.choice(
        [
            "xo" + f"xb-{digits(rng, 12)}-{digits(rng, 12)}-" + token(rng, 24),
            "S" + "G." + token(rng, 22) + "." + token(rng, 43),
            "S" + "K" + token(rng, 32, "0123456789abcdef"),
            digits(rng, 10) + ":" + token(rng, 35),
        ]
    ),
    "payment": lambda rng: "s" + "k_live_" + token(rng, 24),
    "jwt": jwt,
    "cloud": lambda rng: "ibm_cloud_api_" + "key: " + token(rng, 44),
    "basic_auth": lambda rng: f"postgres://{token(rng, 5)}:" + token(rng, 12) + "@db.internal:5432/main",
}
