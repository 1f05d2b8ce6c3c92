"""The users' index in Redis: looked up by every request, written by whoever owns a partition and by whoever accepts.

One hash a partition. Beside the entries (see :mod:`pipeline.users.entries`) it holds

- ``run``: which run of the Redis server its content belongs to. One that was started again may have read an older state from
  disk, so what another run left is never believed;
- ``built``: there once all rows of the partition are in it. Without it, what is not found may exist;
- ``write``: which write to the table it shows, so that who takes a partition over knows whether something is missing;
- ``build``, ``token``: the number and the random name of the last building.

An entry's text is 16 digits of its time, 8 of the building under which it was written, ``A`` or ``P``, its kind, its body. ``A``
was written by the partition's owner from the table, ``P`` by whoever accepted an update that the owner has not come to yet:
``P`` stands until the owner writes something as new.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from redis.exceptions import RedisError

from pipeline.cancelling import cancelled
from pipeline.errors import UsersUnavailableError
from pipeline.users.entries import Entry, Place
from pipeline.users.redis_line import RedisLine, Script

MOST_AT_ONCE: Final = 256

_FIND: Final = Script("""
local prefix, run = KEYS[1], ARGV[1]
local states = {}
local function state_of(p)
  local state = states[p]
  if state == nil then
    local held = redis.call('HMGET', prefix .. p, 'run', 'built')
    state = 0
    if held[1] == run then
      state = 1
      if held[2] then state = 2 end
    end
    states[p] = state
  end
  return state
end
local function look(p, field)
  local state = state_of(p)
  if state == 0 then return -1 end
  local held = redis.call('HGET', prefix .. p, field)
  if held then
    if string.sub(held, 26, 26) == 'x' then return 0 end
    return string.sub(held, 27)
  end
  if state == 2 then return 0 end
  return -1
end
local found = {}
for i = 2, #ARGV, 3 do
  local p, field, is_link = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local first = look(p, field)
  if is_link == '1' and type(first) == 'string' then
    local owner = look(tostring(tonumber(string.sub(first, 1, 6))), string.sub(first, 7, 22))
    if type(owner) == 'string' then
      found[#found + 1] = {owner, string.sub(first, 23)}
    else
      found[#found + 1] = owner
    end
  elseif type(first) == 'string' then
    found[#found + 1] = {first}
  else
    found[#found + 1] = first
  end
end
return found
""")

_OWN: Final = """
local prefix, run = KEYS[1], ARGV[1]
local builds = {}
local function build_of(p)
  local build = builds[p]
  if build == nil then
    local held = redis.call('HMGET', prefix .. p, 'run', 'build')
    if held[1] == run then
      build = held[2]
    else
      build = '00000000'
      redis.call('UNLINK', prefix .. p)
      redis.call('HSET', prefix .. p, 'run', run, 'build', build)
    end
    builds[p] = build
  end
  return build
end
"""

_PUT: Final = Script(
    _OWN
    + """
local function merged(older, newer)
  local body = cmsgpack.unpack(older)
  for name, value in pairs(cmsgpack.unpack(newer)) do body[name] = value end
  return cmsgpack.pack(body)
end
local mode = ARGV[2]
local i = 4
for _ = 1, tonumber(ARGV[3]) do
  build_of(ARGV[i])
  redis.call('HSET', prefix .. ARGV[i], 'write', ARGV[i + 1])
  i = i + 2
end
while i <= #ARGV do
  local p, field, stamp, kind, body = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  i = i + 5
  local build = build_of(p)
  local held = redis.call('HGET', prefix .. p, field)
  local now_mode, keeps = mode, false
  if held then
    local held_stamp, held_mode, held_kind = string.sub(held, 1, 16), string.sub(held, 25, 25), string.sub(held, 26, 26)
    local is_older = tonumber(stamp) < tonumber(held_stamp)
    local is_same = tonumber(stamp) == tonumber(held_stamp)
    local are_users = (kind == 'u' or kind == 'p') and (held_kind == 'u' or held_kind == 'p')
    if mode == 'P' then
      if are_users then
        if is_older or is_same then
          body, stamp, now_mode = merged(body, string.sub(held, 27)), held_stamp, held_mode
        else
          body = merged(string.sub(held, 27), body)
        end
        kind = held_kind
      elseif kind == 'a' and held_kind == 'l' then
        keeps = true
      elseif not (kind == 'l' and held_kind == 'a') then
        keeps = is_older or is_same
      end
    elseif held_mode == 'P' and is_older then
      if are_users then
        body, stamp, now_mode = merged(body, string.sub(held, 27)), held_stamp, held_mode
      else
        keeps = not (kind == 'l' and held_kind == 'a')
      end
    end
  end
  if not keeps then
    redis.call('HSET', prefix .. p, field, stamp .. build .. now_mode .. kind .. body)
  end
end
return 1
"""
)

_STATE: Final = Script("""
local prefix, run = KEYS[1], ARGV[1]
local found = {}
for i = 2, #ARGV do
  local held = redis.call('HMGET', prefix .. ARGV[i], 'run', 'built', 'write')
  if held[1] == run and held[2] then
    found[#found + 1] = held[3] or ''
  else
    found[#found + 1] = 0
  end
end
return found
""")

_BEGIN: Final = Script(
    _OWN
    + """
local build = string.format('%08d', tonumber(build_of(ARGV[2])) + 1)
redis.call('HSET', prefix .. ARGV[2], 'build', build, 'token', ARGV[3])
return build
"""
)

_FINISH: Final = Script("""
local prefix, run = KEYS[1], ARGV[1]
local held = redis.call('HMGET', prefix .. ARGV[2], 'run', 'token')
if held[1] == run and held[2] == ARGV[3] then
  redis.call('HSET', prefix .. ARGV[2], 'built', '1', 'write', ARGV[4])
  return 1
end
return 0
""")

_SWEEP: Final = Script("""
local key = KEYS[1] .. ARGV[2]
if redis.call('HGET', key, 'run') ~= ARGV[1] then return '0' end
local answer = redis.call('HSCAN', key, ARGV[3], 'COUNT', 500)
local fields = answer[2]
for i = 1, #fields, 2 do
  local held = fields[i + 1]
  if string.len(fields[i]) == 16 and tonumber(string.sub(held, 1, 16)) < tonumber(ARGV[4]) then
    if tonumber(string.sub(held, 17, 24)) < tonumber(ARGV[5]) or string.sub(held, 26, 26) == 'x' then
      redis.call('HDEL', key, fields[i])
    end
  end
end
return answer[1]
""")

_SCRIPTS: Final = (_FIND, _PUT, _STATE, _BEGIN, _FINISH, _SWEEP)

Q = TypeVar("Q")
A = TypeVar("A")


class Answer(NamedTuple):
    """What the index holds at a place: a user's body, and of an identifier its own."""

    user: bytes
    link: bytes | None


class UserIndex:
    """A worker's view of the index. Every call raises ``UsersUnavailableError`` where Redis does not answer in ``timeout_s``.

    ``app`` begins the names of the hashes, so that two deployments may use one Redis.
    """

    def __init__(self, url: str, *, app: str, timeout_s: float) -> None:
        self._prefix = f"{{{app}}}:users:"
        self._timeout_s = timeout_s
        self._lines = [RedisLine(url, _SCRIPTS, timeout_s) for _ in range(3)]
        self._finding, self._putting, self._owning = self._lines
        self._finds = _Turns(self._find_all)
        self._puts = _Turns(self._put_all)

    async def close(self) -> None:
        """Let go of the connections; who still waits gets ``UsersUnavailableError``."""
        await self._finds.close()
        await self._puts.close()
        for line in self._lines:
            await line.close()

    async def find(self, place: Place, *, is_link: bool) -> Answer | None:
        """Look up a user, or an identifier's user; ``None`` where there is certainly none.

        Raises ``UsersUnavailableError`` also where the partition's index is not complete and nothing is found.
        """
        found: Answer | int = await self._within(self._finds.ask((place, is_link)))
        if isinstance(found, Answer):
            return found
        if found == 0:
            return None
        raise UsersUnavailableError("the index of users is being built, so nobody can be said not to exist")

    async def put_through(self, entries: Sequence[Entry]) -> None:
        """Show what was accepted before the owners of the partitions come to it."""
        await self._within(self._puts.ask(entries))

    async def put(self, entries: Sequence[Entry], writes: Sequence[tuple[int, bytes]]) -> None:
        """Write what the table holds; ``writes`` says, by partition, which write to the table is shown then."""
        await self._run(self._owning, _PUT, _put_arguments(b"A", entries, writes))

    async def state(self, partitions: Sequence[int]) -> list[bytes | None]:
        """Of each partition which write it shows; ``None`` where it is not complete."""
        found = await self._run(self._owning, _STATE, [b"%d" % each for each in partitions])
        return [None if each == 0 else each for each in found]

    async def begin(self, partition: int, token: bytes) -> int:
        """Begin to build a partition; returns the building's number."""
        return int(await self._run(self._owning, _BEGIN, [b"%d" % partition, token]))

    async def finish(self, partition: int, token: bytes, write: bytes) -> bool:
        """Say that all rows are in; ``False`` where what was built is gone, so that it has to be built again."""
        return bool(await self._run(self._owning, _FINISH, [b"%d" % partition, token, write]))

    async def sweep(self, partition: int, before_us: int, build: int) -> None:
        """Remove entries from before ``before_us`` that were not written again by the building, or say that nobody is there."""
        cursor = b"0"
        while True:
            arguments = [b"%d" % partition, cursor, b"%d" % before_us, b"%d" % build]
            cursor = await self._run(self._owning, _SWEEP, arguments)
            if cursor == b"0":
                return

    async def _find_all(self, questions: Sequence[tuple[Place, bool]]) -> list["Answer | int"]:
        arguments: list[bytes] = []
        for place, is_link in questions:
            arguments += (b"%d" % place.partition, place.field, b"1" if is_link else b"0")
        found = await self._run(self._finding, _FIND, arguments)
        return [
            each if isinstance(each, int) else Answer(each[0], each[1] if len(each) > 1 else None) for each in found
        ]

    async def _put_all(self, puts: Sequence[Sequence[Entry]]) -> list[None]:
        entries = [entry for each in puts for entry in each]
        await self._run(self._putting, _PUT, _put_arguments(b"P", entries, ()))
        return [None] * len(puts)

    async def _run(self, line: RedisLine, script: Script, arguments: Sequence[bytes]) -> Any:
        try:
            return await line.run(script, self._prefix.encode(), arguments)
        except (RedisError, OSError, TimeoutError) as error:
            raise UsersUnavailableError(
                f"redis, which knows the users, does not answer: {str(error) or type(error).__name__}"
            ) from error

    async def _within(self, asked: Awaitable[A]) -> A:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asked
        except TimeoutError:
            raise UsersUnavailableError(
                f"redis, which knows the users, has not answered within {self._timeout_s:g} s"
            ) from None


def _put_arguments(mode: bytes, entries: Sequence[Entry], writes: Sequence[tuple[int, bytes]]) -> list[bytes]:
    arguments = [mode, b"%d" % len(writes)]
    for partition, write in writes:
        arguments += (b"%d" % partition, write)
    for partition, field, at_us, kind, body in entries:
        arguments += (b"%d" % partition, field, b"%016d" % at_us, kind.encode(), body)
    return arguments


class _Turns(Generic[Q, A]):
    """Puts the questions of many together: while one lot is asked, the next one gathers."""

    def __init__(self, ask_all: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        self._ask_all = ask_all
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._asking: asyncio.Task[None] | None = None
        self._is_closed = False

    async def ask(self, question: Q) -> A:
        """Wait for the answer; raises what asking raises."""
        if self._is_closed:
            raise UsersUnavailableError("this worker is stopping")
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await answer

    async def close(self) -> None:
        """Ask no more."""
        self._is_closed = True
        if self._asking is not None:
            await cancelled([self._asking])
        _refuse(self._waiting, "this worker is stopping")
        self._waiting.clear()

    async def _ask(self) -> None:
        lot: list[tuple[Q, asyncio.Future[A]]] = []
        try:
            while self._waiting:
                lot = [each for each in self._waiting[:MOST_AT_ONCE] if not each[1].done()]
                del self._waiting[:MOST_AT_ONCE]
                if lot:
                    await self._answer(lot)
        finally:
            self._asking = None
            _refuse(lot, "this worker is stopping")

    async def _answer(self, lot: Sequence[tuple[Q, "asyncio.Future[A]"]]) -> None:
        try:
            answers = await self._ask_all([question for question, _ in lot])
        except UsersUnavailableError as error:
            _refuse(lot, str(error))
            return
        for (_, answer), found in zip(lot, answers, strict=True):
            if not answer.done():
                answer.set_result(found)


def _refuse(lot: "Sequence[tuple[Any, asyncio.Future[Any]]]", why: str) -> None:
    for _, answer in lot:
        if not answer.done():
            answer.set_exception(UsersUnavailableError(why))
