"""Phrases that give boilerplate away, in lower case, with a straight apostrophe."""

from __future__ import annotations

ASSISTANT = (
    "as an ai language model",
    "as an ai model",
    "as an ai assistant",
    "as an ai, i",
    "as an ai developed by",
    "as an ai created by",
    "as an artificial intelligence",
    "as a large language model",
    "as a language model",
    "i am an ai language model",
    "i'm an ai language model",
    "i am a large language model",
    "i'm a large language model",
    "i'm just an ai",
    "i am just an ai",
    "my knowledge cutoff",
    "my last knowledge update",
    "as of my last update",
    "as of my last training",
    "my training data only goes",
    "i was trained by openai",
    "developed by openai",
    "my programming prevents",
    "regenerate response",
)
"""What assistants say of themselves."""

WEB = (
    "lorem ipsum",
    "we use cookies",
    "this website uses cookies",
    "this site uses cookies",
    "uses cookies to improve",
    "uses cookies to ensure",
    "accept all cookies",
    "by continuing to use this site",
    "by continuing to browse",
    "enable javascript",
    "javascript is disabled",
    "javascript is required",
    "requires javascript",
    "browser does not support",
    "all rights reserved",
    "terms of use | privacy",
    "privacy policy | terms",
    "terms of service | privacy",
    "skip to main content",
    "skip to content",
    "toggle navigation",
    "back to top",
    "posted in uncategorized",
    "your email address will not be published",
    "required fields are marked",
    "leave a reply cancel reply",
    "subscribe to our newsletter",
    "sign up for our newsletter",
    "share this:",
    "share on facebook",
    "tweet this",
    "powered by wordpress",
    "proudly powered by",
    "this page was last edited",
    "this post may contain affiliate links",
    "you must be logged in",
    "log in to leave a comment",
    "404 not found",
    "page not found",
    "advertisement - continue reading",
    "continue reading below",
    "read more »",
    "click here to read more",
)
"""What surrounds the text of a web page. C4 leaves out pages with placeholder text or code, and lines that ask for
JavaScript or speak of cookies and terms of use (Raffel et al. 2020, arXiv:1910.10683, section 2.2)."""

CLOSINGS = (
    r"(?:i )?hope (?:this|that|it|these \w+) (?:helps?|is helpful|answers? your question|was helpful)",
    r"(?:please )?(?:let me know|feel free to (?:ask|reach out|let me know|contact me)|don't hesitate to"
    r" (?:ask|reach out|contact me)|just (?:ask|let me know))",
    r"if you (?:have|need|want|would like|'d like) (?:any |more |further |some |another |other |additional )?"
    r"(?:\w+ )?(?:questions?|help|assistance|clarification|information|details)",
    r"is there (?:anything|something) else (?:i can|you|that)",
    r"(?:i'm|i am) (?:always )?(?:here|happy|glad) to (?:help|assist)",
    r"would you like me to",
)
"""How the last sentences of an answer begin that offer more of it (regular expressions)."""
