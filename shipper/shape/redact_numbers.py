"""Numbers that have a check in them, so that not every long number is taken for one: cards, bank accounts; and US SSNs."""

from __future__ import annotations

import re

_ISSUED = re.compile(
    rb"4(?:.{12}|.{15}|.{18})"  # Visa
    rb"|(?:5[1-5]|2[2-7]).{14}"  # Mastercard
    rb"|3[47].{13}"  # American Express
    rb"|3(?:0[0-5]|[689].).{11,16}"  # Diners Club
    rb"|6(?:011|4[4-9].|5..|2..).{12,15}"  # Discover, UnionPay
    rb"|35.{14,17}"  # JCB
    rb"|(?:50|5[6-9]|6[0-9]).{10,17}"  # Maestro
)
_NO_DIGITS = bytes(byte for byte in range(256) if not 0x30 <= byte <= 0x39)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DK FI FO GL NL",
    19: "MK SI",
    20: "AT BA EE KZ LT LU XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "PT ST",
    26: "IS TR",
    27: "FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU",
    31: "MT SC",
    32: "LC",
}
_IBAN_LENGTHS = {country: length for length, countries in _COUNTRIES.items() for country in countries.split()}
"""Of each country that gives them out (the registry of ISO 13616)."""


def is_card(text: bytes) -> bool:
    """Digits as an issuer gives them out (ISO/IEC 7812), with Luhn's check digit; separators do not count."""
    digits = text.translate(None, _NO_DIGITS)
    if not 13 <= len(digits) <= 19 or not _ISSUED.fullmatch(digits):
        return False
    total = sum(digits[-1::-2]) - 0x30 * len(digits[-1::-2])
    return (total + sum(_DOUBLED[digit - 0x30] for digit in digits[-2::-2])) % 10 == 0


def iban_length(text: bytes) -> int:
    """How many bytes of ``text``, which may go on, are an IBAN (ISO 13616, remainder 1 modulo 97); 0: none."""
    length = int(_IBAN_LENGTHS.get(text[:2].decode("ascii", "replace"), 0))
    compact = text.replace(b" ", b"")[:length]
    if not length or len(compact) < length:
        return 0
    if int("".join(str(int(chr(byte), 36)) for byte in compact[4:] + compact[:4])) % 97 != 1:
        return 0
    end = length
    while len(text[:end].replace(b" ", b"")) < length:
        end += 1
    return end


def is_ssn(text: bytes) -> bool:
    """A US social security number that could have been given out."""
    area, group, serial = text.split(b"-")
    return area not in (b"000", b"666") and area[:1] != b"9" and group != b"00" and serial != b"0000"
