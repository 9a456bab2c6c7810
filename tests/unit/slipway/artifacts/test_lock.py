from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from slipway.artifacts.lock import DependencyLock, LockStore, lock_key, serving_requirements
from slipway.errors import DependencyLockError, PermanentError

TEXT = "b==2 ; python_full_version < '4' \\\n    --hash=sha256:11\na==1 \\\n    --hash=sha256:00\n"
BUCKET = "artifacts"


class Resolver:
    """Counts how often it is asked; each text is given once, the last one for ever."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.asked: list[list[str]] = []

    def __call__(self, requirements: list[str], **kwargs: object) -> str:
        self.asked.append(requirements)
        return self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        client = boto3.client("s3", "us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def writes(client: object) -> list[str]:
    """Journal the names of calls that change something."""
    made: list[str] = []
    client.meta.events.register("before-call.s3.*", lambda model, **_: made.append(model.name))  # type: ignore[attr-defined]
    return made


def get(store: LockStore, **kwargs: object) -> tuple[DependencyLock, bool]:
    return store.get_or_resolve(["a"], "3.11", "linux/amd64", serving=["b"], **kwargs)  # type: ignore[arg-type]


def test_a_lock_is_read_from_its_text() -> None:
    lock = DependencyLock.from_text(TEXT, key="k", python="3.11", platform="linux/amd64")
    assert lock.requirements == ("b==2", "a==1")
    assert len(lock.digest) == 64


@given(st.lists(st.text(max_size=5)), st.lists(st.text(max_size=5)), st.randoms())
def test_the_key_does_not_depend_on_order_or_repetition(mine: list[str], serving: list[str], random) -> None:
    shuffled = mine + mine
    random.shuffle(shuffled)
    assert lock_key(mine, "3.11", "p", serving) == lock_key(shuffled, "3.11", "p", reversed(serving))


def test_the_key_depends_on_everything_that_decides_the_lock() -> None:
    base = (["a"], "3.11", "linux/amd64", ["b"], ["c"])
    changed = [(["x"], *base[1:]), (base[0], "3.12", *base[2:]), (*base[:2], "linux/arm64", *base[3:])]
    changed += [(*base[:3], ["x"], base[4]), (*base[:4], ["x"]), (["a", "b"], *base[1:3], [], ["c"])]
    assert len({lock_key(*inputs) for inputs in [base, *changed]}) == 7


def test_resolved_once_then_kept_without_a_write(s3) -> None:
    resolver = Resolver(TEXT)
    store = LockStore(s3, BUCKET, resolver)
    first, new = get(store)
    assert new
    assert resolver.asked == [["a", "b"]]
    made = writes(s3)
    second, again = get(LockStore(s3, BUCKET, resolver))
    assert second == first
    assert not again
    assert len(resolver.asked) == 1
    assert set(made) <= {"GetObject", "HeadObject"}


def test_the_text_is_there_for_people_too_and_comes_back_when_it_is_lost(s3) -> None:
    lock, _ = get(LockStore(s3, BUCKET, Resolver(TEXT)))
    key = f"locks/{lock.key}/requirements.lock"
    s3.delete_object(Bucket=BUCKET, Key=key)
    get(LockStore(s3, BUCKET, Resolver("x==1\n")))
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode() == TEXT


def test_relock_resolves_again_and_writes_only_a_change(s3) -> None:
    resolver = Resolver(TEXT, TEXT, "a==9\n")
    store = LockStore(s3, BUCKET, resolver)
    first, _ = get(store)
    made = writes(s3)
    same, new = get(store, relock=True)
    assert (same, new) == (first, True)
    assert "PutObject" not in made
    changed, new = get(store, relock=True)
    assert new
    assert changed.requirements == ("a==9",)
    assert get(store) == (changed, False)


def test_the_faster_of_two_runs_decides(s3) -> None:
    slow, fast = LockStore(s3, BUCKET, Resolver("slow==1\n")), LockStore(s3, BUCKET, Resolver("fast==1\n"))
    resolver = slow._resolver
    slow._resolver = lambda *args, **kwargs: (get(fast), resolver(*args, **kwargs))[1]
    lock, _ = get(slow)
    assert lock.requirements == ("fast==1",)
    assert s3.get_object(Bucket=BUCKET, Key=f"locks/{lock.key}/requirements.lock")["Body"].read() == b"fast==1\n"


def test_many_runs_at_once_agree(new_memory_s3) -> None:
    memory = new_memory_s3()
    memory.head_object = lambda **_: {"Metadata": {"sha256": None}}
    put = memory.put_object
    memory.put_object = lambda *, Metadata=None, **kwargs: put(**kwargs)  # noqa: N803
    found: list[DependencyLock] = []
    barrier = threading.Barrier(8)

    def run(number: int) -> None:
        barrier.wait()
        found.append(get(LockStore(memory, BUCKET, Resolver(f"p=={number}\n")))[0])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({lock.text for lock in found}) == 1


@pytest.mark.parametrize("change", [{"text": "evil==1\n"}, {"digest": "0" * 64}, {"text": 5}])
def test_an_altered_lock_is_refused(s3, change: dict) -> None:
    lock, _ = get(LockStore(s3, BUCKET, Resolver(TEXT)))
    key = f"locks/{lock.key}/lock.json"
    document = json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) | change
    s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(document).encode())
    with pytest.raises(DependencyLockError, match="relock"):
        get(LockStore(s3, BUCKET, Resolver(TEXT)))


def test_a_missing_bucket_is_named(s3) -> None:
    with pytest.raises(PermanentError, match="nowhere"):
        get(LockStore(s3, "nowhere", Resolver(TEXT)))


def test_the_serving_app_states_what_it_needs() -> None:
    lines = serving_requirements()
    assert any(line.startswith("orjson") for line in lines)
    assert not any("extra" in line for line in lines)
