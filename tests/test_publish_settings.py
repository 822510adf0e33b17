"""Where the store is and how it is spoken to: settings, credentials, the cutting of files, keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from factory.console import Console
from factory.errors import UsageError
from factory.publish import Artefact, StoredObject, generic, store_settings, transport
from factory.publish.importer import Wishes
from factory.publish.keys import address_of
from factory.publish.parts import MAX_PARTS, MIB, cut, part_size, whole_etag
from factory.publish.refusals import Refusal, as_error
from factory.publish.store import Store, open_store
from factory.publish.store_settings import StoreSettings
from tests.command_line import own_places

MGC = transport.load("mgc")
GENERIC = transport.load("generic")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_places(tmp_path, monkeypatch)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MGC_OBJ_KEY_ID", "MGC_OBJ_KEY_SECRET", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("FACTORY_S3_BUCKET", "images")


def found(way: transport.Transport = GENERIC) -> StoreSettings:
    return store_settings.of(way)


def opened(way: transport.Transport = GENERIC) -> Store:
    return open_store(way, Console.quiet())


def image() -> Artefact:
    return Artefact(Path("a b.qcow2"), "ab" * 32, 10, "nginx", "1.0.0")


def signed(store: Store) -> str:
    key = store.key(image())
    return store.presign(StoredObject("", "", "", key, 10, "ab" * 32), 86400).secret


def test_magalus_store_is_its_regions_with_the_bucket_in_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGC_OBJ_KEY_ID", "an-id")
    monkeypatch.setenv("MGC_OBJ_KEY_SECRET", "a-secret")
    assert signed(opened(MGC)).startswith(
        "https://br-se1.magaluobjects.com/images/nginx/1.0.0/abababababababab/a-b.qcow2?"
    )
    monkeypatch.setenv("FACTORY_S3_REGION", "br-ne1")
    url = signed(opened(MGC))
    assert url.startswith("https://br-ne1.magaluobjects.com/images/")
    assert "br-ne1%2Fs3%2Faws4_request" in url
    assert url.startswith(address_of(MGC, image()) + "?")


def test_magalus_own_credentials_beat_the_others_for_its_target_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-amazon")
    for name in ("MGC_OBJ_KEY_ID", "MGC_OBJ_KEY_SECRET"):
        monkeypatch.setenv(name, "of-magalu")
    assert "X-Amz-Credential=of-magalu%2F" in signed(opened(MGC))
    assert "X-Amz-Credential=of-amazon%2F" in signed(opened())
    monkeypatch.delenv("MGC_OBJ_KEY_SECRET")
    with pytest.raises(UsageError, match="MGC_OBJ_KEY_SECRET is not set, but its other half is"):
        found(MGC)


def test_credentials_and_region_of_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(
        "[profile work]\nregion = eu-west-3\naws_access_key_id = of-profile\naws_secret_access_key = its-secret\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "work")
    url = signed(opened())
    assert "X-Amz-Credential=of-profile%2F" in url
    assert "eu-west-3%2Fs3" in url
    assert "amazonaws.com/" in url


def test_where_the_bucket_stands_in_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x-y-z-1")
    monkeypatch.setenv("FACTORY_S3_ENDPOINT", "https://store.example:8333/")
    for addressing, begin in (
        ("path", "https://store.example:8333/images/"),
        ("virtual", "https://images.store.example:8333/"),
    ):
        monkeypatch.setenv("FACTORY_S3_ADDRESSING", addressing)
        assert signed(opened()).startswith(begin + "nginx/")
        assert address_of(GENERIC, image()).startswith(begin + "nginx/")
        stored = StoredObject("https://store.example:8333", "", "images", opened().key(image()), 1, "ab" * 32)
        document = generic.prepare(image(), Wishes(), GENERIC, Console.quiet()).documents(stored)["import.json"]
        assert json.loads(document)["object"] == signed(opened()).partition("?")[0]
    monkeypatch.setenv("FACTORY_S3_PREFIX", "/team/images/")
    assert opened().key(image()) == "team/images/nginx/1.0.0/abababababababab/a-b.qcow2"


@pytest.mark.parametrize("addressing", ["", "auto", "path", "virtual"])
@pytest.mark.parametrize(
    ("region", "bucket", "virtual", "path"),
    [
        ("", "images", "images.s3.amazonaws.com", "s3.amazonaws.com/images"),
        ("us-east-1", "images", "images.s3.amazonaws.com", "s3.amazonaws.com/images"),
        ("eu-south-2", "images", "images.s3.eu-south-2.amazonaws.com", "s3.eu-south-2.amazonaws.com/images"),
        ("cn-north-1", "images", "images.s3.cn-north-1.amazonaws.com.cn", "s3.cn-north-1.amazonaws.com.cn/images"),
        ("eu-south-2", "my.images", "", "s3.eu-south-2.amazonaws.com/my.images"),
        ("eu-south-2", "Images_1", "", "s3.eu-south-2.amazonaws.com/Images_1"),
    ],
)
def test_a_url_of_amazons_store_names_the_host_of_its_region(
    region: str, bucket: str, virtual: str, path: str, addressing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("REGION", region), ("BUCKET", bucket), ("ADDRESSING", addressing)):
        monkeypatch.setenv(f"FACTORY_S3_{name}", value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x-y-z-1")
    place = virtual if virtual and addressing != "path" else path
    url = signed(opened()).partition("?")[0]
    assert url.startswith(f"https://{place}/nginx/")
    assert address_of(GENERIC, image()) == url


def test_a_store_that_only_boto3_knows_of_has_the_bucket_in_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x-y-z-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://store.example:8333")
    assert signed(opened()).startswith("https://store.example:8333/images/nginx/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FACTORY_S3_ENDPOINT", "http://store.example"),
        ("FACTORY_S3_ENDPOINT", "store.example:8333"),
        ("FACTORY_S3_ENDPOINT", "https://store.example/bucket"),
        ("FACTORY_S3_ENDPOINT", "https://who:secret-word@store.example"),
        ("FACTORY_S3_ENDPOINT", "https://store.example:99999"),
        ("FACTORY_S3_ENDPOINT", "https://my_store:8333"),
        ("FACTORY_S3_ENDPOINT", "https://st*re.example"),
        ("FACTORY_S3_ENDPOINT", "https://exa mple"),
        ("FACTORY_S3_ENDPOINT", "https://b\u00fccher.example"),
        ("FACTORY_S3_ENDPOINT", "https://" + "a" * 64 + ".example"),
        ("FACTORY_S3_ENDPOINT", "https://[::1"),
        ("FACTORY_S3_ENDPOINT", "https://who:secret-word@[::1"),
        ("FACTORY_S3_ENDPOINT", "https://[store]"),
        ("FACTORY_S3_REGION", "EU West!"),
        ("FACTORY_S3_BUCKET", "a/b"),
        ("FACTORY_S3_BUCKET", ""),
        ("FACTORY_S3_BUCKET", "my bucket"),
        ("FACTORY_S3_BUCKET", "bucket\x1b"),
        ("FACTORY_S3_BUCKET", "bücket"),
        ("FACTORY_S3_BUCKET", "..."),
        ("FACTORY_S3_BUCKET", "a" * 256),
        ("FACTORY_S3_BUCKET", "192.168.5.4"),
        ("FACTORY_S3_BUCKET", "ab"),
        ("FACTORY_S3_PREFIX", "../up"),
        ("FACTORY_S3_PREFIX", "a b"),
        ("FACTORY_S3_ADDRESSING", "sideways"),
        ("FACTORY_S3_CHECKSUMS", "never"),
        ("FACTORY_S3_CA_BUNDLE", "/not/there.pem"),
    ],
)
def test_a_setting_that_cannot_be_right_is_told(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as caught:
        found()
    assert caught.value.code == "usage.store"
    assert name in str(caught.value)
    assert caught.value.hint
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://localhost:8333",
        "https://192.0.2.7",
        "https://[2001:db8::7]:8333",
        "https://a-1.B.example.",
        "https://7",
    ],
)
def test_addresses_of_stores_that_are_right(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x-y-z-1")
    monkeypatch.setenv("FACTORY_S3_ENDPOINT", endpoint)
    assert opened().place == f"{endpoint}/images"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_CREDENTIAL_EXPIRATION", "tomorrow", "tomorrow"),
        ("AWS_ENDPOINT_URL", "https://who:secret-word@my_store", "https://my_store"),
    ],
)
def test_what_only_boto3_reads_and_cannot_be_right_is_told(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(each, "x-y-z-1")
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as caught:
        opened()
    assert (caught.value.code, caught.value.status) == ("usage.store", 2)
    assert said in caught.value.cause and name in caught.value.hint
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["abc", "my-images", "my.images.2", "0-0", "1.2.3.4.5", "a" * 63, "My_Bucket", "_images-", "a" * 255]
)
def test_names_of_buckets_that_are_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_S3_BUCKET", name)
    assert found().bucket == name


def test_a_region_may_have_capital_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x-y-z-1")
    monkeypatch.setenv("FACTORY_S3_ENDPOINT", "https://store.example:8333")
    monkeypatch.setenv("FACTORY_S3_REGION", "RegionOne")
    assert "%2FRegionOne%2Fs3%2F" in signed(opened())


def test_certificates_of_the_store_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, general, amazons = (tmp_path / f"{name}.pem" for name in ("own", "general", "amazons"))
    for path in (own, general, amazons):
        trustme.CA().cert_pem.write_to_path(str(path))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(amazons))
    assert found().ca_bundle == str(amazons)
    monkeypatch.setenv("FACTORY_CA_BUNDLE", str(general))
    assert found().ca_bundle == str(general)
    monkeypatch.setenv("FACTORY_S3_CA_BUNDLE", str(own))
    assert found().ca_bundle == str(own)


@pytest.mark.parametrize("name", ["FACTORY_S3_CA_BUNDLE", "FACTORY_CA_BUNDLE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("what", "cause"), [("folder", "It is a folder"), ("empty", "There is no certificate"), ("none", "No such file")]
)
def test_certificates_that_cannot_be_read_are_told_at_once(
    name: str, what: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("FACTORY_S3_CA_BUNDLE", "FACTORY_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(other, raising=False)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    monkeypatch.setenv(name, str(tmp_path / what))
    if (name, what) == ("REQUESTS_CA_BUNDLE", "none"):
        assert found().ca_bundle != str(tmp_path / what), "as for downloads"
        return
    with pytest.raises(UsageError) as caught:
        found()
    assert caught.value.message.startswith(name)
    if (name, what) != ("FACTORY_CA_BUNDLE", "none"):  # which is told for all that it is for
        assert cause in caught.value.cause
        assert caught.value.code == "usage.store"


# Cutting


@given(st.integers(min_value=0, max_value=5 << 40))
def test_a_file_of_any_size_is_cut_within_the_limits(size: int) -> None:
    each = part_size(size)
    assert each % MIB == 0
    assert 5 * MIB <= each <= 5 << 30
    assert max(-(-size // each), 1) <= MAX_PARTS


@given(st.integers(min_value=1, max_value=100), st.integers(min_value=1, max_value=9))
def test_the_parts_are_the_file(size: int, each: int) -> None:
    parts = cut(size, each)
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert sum(part.size for part in parts) == size
    assert all(part.offset == sum(before.size for before in parts[: part.number - 1]) for part in parts)
    assert {part.size for part in parts[:-1]} <= {each}


def test_the_etag_is_as_amazon_makes_it() -> None:
    assert whole_etag([bytes(16)]) == "4ae71336e44bf9bf79d2752e234818a5-1"


def test_small_images_go_in_parts_of_16_mib_and_twenty_gigabytes_in_a_thousand() -> None:
    assert part_size(300_000_000) == 16 * MIB
    assert part_size(20_000_000_000) == 20 * MIB
    assert len(cut(20_000_000_000, part_size(20_000_000_000))) <= 1000


# Refusals that no store here makes


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (Refusal("QuotaExceeded", status=403), "publish.store-full"),
        (Refusal("501", status=501), "publish.refused"),
        (Refusal("AllAccessDisabled", status=403), "publish.denied"),
        (Refusal("TemporaryRedirect", status=307), "publish.region"),
        (Refusal("InvalidToken", status=400), "publish.credentials-refused"),
        (Refusal("MissingContentLength", status=411), "publish.checksum-mode"),
        (Refusal("EntityTooSmall", "too small", 400), "publish.refused"),
    ],
)
def test_what_a_refusal_means(refusal: Refusal, code: str) -> None:
    assert not refusal.transient
    names: dict[str, Any] = {"host": "store.example", "bucket": "images", "variables": "AWS_PROFILE"}
    error = as_error(refusal, "uploading the image", **names)
    assert (error.code, error.status) == (code, 6)
    assert error.hint


def test_how_far_the_clocks_are_apart() -> None:
    words = Refusal("RequestTimeTooSkewed", date="Sun, 06 Nov 1994 08:49:37 GMT").skew()
    assert words.endswith("ahead")
    assert Refusal("RequestTimeTooSkewed", date="nonsense").skew() == ""
