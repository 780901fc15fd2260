"""From when until when a certificate is valid, as openssl says; anything else is one error."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import ConfigError
from saccade.x509 import validity_of_der, validity_of_pem
from saccade_testing.certificates import Authority


@pytest.mark.parametrize("years", [1, 20, 40])  # times have another form from 2050 on
def test_the_times_are_those_that_were_signed(authority: Authority, years: int) -> None:
    ends = timedelta(days=365 * years)
    cert = authority.odd("kerb", begins=timedelta(hours=-2), ends=ends).cert
    assert cert
    valid = validity_of_pem(cert.read_text())
    now = datetime.now(timezone.utc)
    assert abs(valid.not_before - (now - timedelta(hours=2))) < timedelta(minutes=1)
    assert abs(valid.not_after - (now + ends)) < timedelta(minutes=1)


def test_of_a_chain_the_first_counts(authority: Authority) -> None:
    cert = authority.odd("kerb").cert
    assert cert
    text = cert.read_text()
    assert validity_of_pem(text + authority.ca.read_text()) == validity_of_pem(text)
    assert validity_of_pem(authority.ca.read_text()) != validity_of_pem(text)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_certificate_are_one_error(data: bytes) -> None:
    with pytest.raises(ConfigError):
        validity_of_der(data)


def _refused(der: bytes) -> bool:
    try:
        validity_of_der(der)
    except ConfigError:
        return True
    return False


def test_every_cut_is_refused_and_every_flip_is_a_validity_or_one_error(
    authority: Authority,
) -> None:
    der = ssl.PEM_cert_to_DER_cert(authority.ca.read_text())
    assert all(_refused(der[:cut]) for cut in range(len(der)))
    flipped = (der[:at] + bytes([der[at] ^ 0x81]) + der[at + 1 :] for at in range(len(der)))
    assert 0 < sum(_refused(data) for data in flipped) < len(der)


NOT_BASE64 = "-----BEGIN CERTIFICATE-----\nnot base64 !\n-----END CERTIFICATE-----"


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----", NOT_BASE64])
def test_text_that_is_no_certificate_is_one_error(text: str) -> None:
    with pytest.raises(ConfigError, match="certificate"):
        validity_of_pem(text)
