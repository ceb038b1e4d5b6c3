"""Spam of ten sorts, made up from parts."""

from __future__ import annotations

import random
from collections.abc import Callable

GOODS = ("running shoes", "gold watches", "phone cases", "protein powder", "garden tents", "sunglasses", "printer ink")
PILLS = ("slimming tea", "herbal capsules", "hair serum", "sleep gummies", "joint cream")
PLACES = ("Denver", "Manchester", "Toronto", "Perth", "Dublin")
SITES = ("best-deals-4u", "cheapstore24", "luckyspinz", "rankboosters", "fastcash-now", "megapromo")
ENDINGS = ("com", "net", "shop", "xyz", "biz")


def _site(rng: random.Random) -> str:
    return f"www.{rng.choice(SITES)}{rng.randrange(99)}.{rng.choice(ENDINGS)}"


def _shop(rng: random.Random) -> str:
    goods, off = rng.choice(GOODS), rng.randrange(50, 95)
    return (
        f"Buy {goods} online today! {off}% OFF all {goods}, free shipping worldwide. Order now at http://{_site(rng)} "
        f"before stock runs out. Click here to claim your discount!!!"
    )


def _casino(rng: random.Random) -> str:
    return (
        f"🎰🎰 Get {rng.randrange(50, 500)} FREE SPINS when you sign up at {_site(rng)} 🎰🎰 No deposit required. "
        f"Win up to ${rng.randrange(1, 9)},000,000 tonight. Play now 💰💰💰"
    )


def _pill(rng: random.Random) -> str:
    return (
        f"Doctors hate this one trick. Our {rng.choice(PILLS)} made me lose {rng.randrange(10, 40)} pounds in "
        f"{rng.randrange(2, 5)} weeks, with no exercise! 100% natural, money back guarantee. Visit {_site(rng)} and "
        "use my code for a free bottle."
    )


def _seo(rng: random.Random) -> str:
    phrase = f"{rng.choice(('plumber', 'roof repair', 'dentist', 'car hire'))} {rng.choice(PLACES)}"
    forms = (f"best {phrase}", f"cheap {phrase}", f"{phrase} near me", f"top {phrase}", f"{phrase} prices")
    listed = ", ".join(rng.choice(forms) for _ in range(18))
    return f"Looking for {phrase}? We are the number one {phrase}. {listed}. Call the {phrase} that everyone trusts."


def _links(rng: random.Random) -> str:
    lines = [f"{rng.choice(GOODS)} - https://{_site(rng)}/{rng.randrange(10**5)}" for _ in range(rng.randrange(8, 15))]
    return "Useful links:\n" + "\n".join(lines)


def _crypto(rng: random.Random) -> str:
    return (
        f"I turned ${rng.randrange(200, 900)} into ${rng.randrange(20, 90)},000 in a month with automated crypto "
        f"signals. Message me on WhatsApp to join the VIP group, only {rng.randrange(3, 20)} places left. "
        "Guaranteed daily profit, withdraw any time."
    )


def _prize(rng: random.Random) -> str:
    return (
        f"CONGRATULATIONS!!! YOU HAVE BEEN SELECTED TO RECEIVE A ${rng.randrange(1, 9)}00 GIFT CARD. "
        f"CLAIM IT WITHIN {rng.randrange(12, 48)} HOURS AT {_site(rng).upper()} OR YOUR REWARD WILL EXPIRE."
    )


def _job(rng: random.Random) -> str:
    return (
        f"Work from home and earn {rng.randrange(200, 800)} dollars per day, no experience needed. Thousands of people "
        f"in {rng.choice(PLACES)} have already quit their jobs. Send YES to the number below to get your starter kit "
        "absolutely free. Limited time offer."
    )


def _follow(rng: random.Random) -> str:
    name = f"@{rng.choice(SITES).replace('-', '')}{rng.randrange(999)}"
    tags = " ".join(f"#{tag}" for tag in ("viral", "followme", "like4like", "instagood", "trending", "fyp", "promo"))
    return f"Nice post! Follow {name} and like, share and subscribe for more 🔥🔥🔥 follow for follow, {tags}"


def _loan(rng: random.Random) -> str:
    return (
        f"Bad credit? No problem. Get up to {rng.randrange(5, 50)},000 approved in {rng.randrange(2, 15)} minutes, no "
        f"paperwork and no questions asked. Apply today at {_site(rng)}. Rates from {rng.randrange(1, 9)}.9%. "
        "Act fast, our agents are standing by."
    )


SPAM: dict[str, Callable[[random.Random], str]] = {
    "shop": _shop, "casino": _casino, "pill": _pill, "seo": _seo, "links": _links, "crypto": _crypto,
    "prize": _prize, "job": _job, "follow": _follow, "loan": _loan,
}  # fmt: skip
