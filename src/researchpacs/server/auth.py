"""Who may do what: a token or users with hashed passwords, and the roles read, write and admin.

A users file is JSON; no password stands in it:

    {"users": [{"name": "ada", "role": "write", "scrypt": "<salt>$<hash>"}]}
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import anyio
import anyio.to_thread
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from researchpacs.errors import InvalidInputError
from researchpacs.server.origin import comes_from_elsewhere, names_this_machine

__all__ = ["Access", "AccessMiddleware", "Role", "User", "hash_password", "needed_role", "read_users", "write_user"]

Role = Literal["read", "write", "admin"]
_RANK = {"read": 0, "write": 1, "admin": 2}
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# These ask; they are POST because the question does not fit a URL.
_ASKING = (
    "/tools/find",
    "/tools/lookup",
    "/tools/count-resources",
    "/tools/bulk-content",
    "/tools/create-archive",
    "/tools/create-media",
    "/tools/create-media-extended",
)
_CONFIGURATION = ("/modalities/", "/peers/", "/tools/", "/dicom-web/servers/")
_LOGINS = 2
_REBOUND = (
    "without users or a token this server answers to localhost and 127.0.0.1 only, lest a web page reaches it under "
    "another name"
)
# The request itself says which host to connect to.
_REACHING = ("/tools/dicom-echo",)
_SCRYPT = {"n": 1 << 14, "r": 8, "p": 1, "maxmem": 64 << 20}
_SALT_BYTES, _HASH_BYTES = 16, 32
_NOBODY = base64.b64encode(bytes(16)).decode() + "$" + base64.b64encode(bytes(32)).decode()


@dataclass(frozen=True, slots=True)
class User:
    """A person or program that may come in."""

    name: str
    role: Role
    scrypt: str = field(repr=False)


@dataclass(frozen=True)
class Access:
    """Who may come in. Nobody set and no token means everybody: for loopback only."""

    token: str | None = field(default=None, repr=False)
    """Bearer of it, or Basic with it as the password of any user, is an administrator."""
    users: Mapping[str, User] = field(default_factory=dict)
    _known: dict[bytes, Role] = field(default_factory=dict, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def with_new_token(cls) -> "Access":
        """A token that nobody knows yet."""
        return cls(token=secrets.token_urlsafe(24))

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything."""
        return self.token is None and not self.users

    def role_of(self, authorization: str) -> Role | None:
        """Read an ``Authorization`` header; None for one that lets nobody in.

        Slow for a password seen for the first time: scrypt takes tens of milliseconds.
        """
        known = self.role_known(authorization)
        login = _login_in(authorization)
        return known if known is not None or login is None else self._login(*login)

    def role_known(self, authorization: str) -> Role | None:
        """As `role_of`, but at once: None also for a right password that is seen for the first time."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return "admin" if self._is_token(value.strip()) else None
        login = _login_in(authorization)
        if login is None:
            return None
        with self._lock:
            known = self._known.get(_proof(*login))
        return "admin" if self._is_token(login[1]) else known

    def _is_token(self, value: str) -> bool:
        return self.token is not None and hmac.compare_digest(value.encode(), self.token.encode())

    def _login(self, name: str, password: str) -> Role | None:
        user = self.users.get(name)
        # A name that nobody has takes as long as a wrong password.
        right = _verify(password, user.scrypt if user else _NOBODY)
        if user is None or not right:
            return None
        with self._lock:
            self._known[_proof(name, password)] = user.role
        return user.role


class AccessMiddleware:
    """Lets in whom `Access` knows, to what their role allows: reading, writing, or all.

    Parameters
    ----------
    app
        What answers.
    access
        Who may come in.
    origins
        Gives the other origins whose web pages may change something by a request; every other page is kept from that.
    """

    def __init__(
        self, app: ASGIApp, access: Access, origins: Callable[[Scope], Collection[str]] = lambda _: ()
    ) -> None:
        self.app = app
        self.access = access
        self.origins = origins
        # Each takes 16 MB and a processor; more at once would be a way to stop the server without a password.
        self._trying = anyio.CapacityLimiter(_LOGINS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or 403, or pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer: Response | None
        if comes_from_elsewhere(scope["method"], headers, self.origins(scope)):
            answer = Response("a web page of another origin may not change anything here", 403, None, "text/plain")
        elif self.access.is_open:
            answer = None if names_this_machine(headers) else Response(_REBOUND, 403, None, "text/plain")
        else:
            answer = await self._judged(scope, headers)
        await (answer or self.app)(scope, receive, send)

    async def _judged(self, scope: Scope, headers: Headers) -> Response | None:
        fields = headers.getlist("authorization")
        role = await self._role(fields[0]) if len(fields) == 1 else None
        if role is None:
            challenge = {"WWW-Authenticate": 'Basic realm="researchpacs", charset="UTF-8"'}
            return Response(status_code=401, headers=challenge)
        return Response(status_code=403) if _RANK[role] < _RANK[needed_role(scope)] else None

    async def _role(self, authorization: str) -> Role | None:
        known = self.access.role_known(authorization)
        if known is not None or not self.access.users:
            return known
        return await anyio.to_thread.run_sync(self.access.role_of, authorization, limiter=self._trying)


def hash_password(password: str) -> str:
    """Hash a password for a users file (scrypt, RFC 7914)."""
    if len(password) < 8:
        raise InvalidInputError("a password has at least 8 characters")
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"{base64.b64encode(salt).decode()}${base64.b64encode(_scrypt(password, salt)).decode()}"


def read_users(path: Path) -> dict[str, User]:
    """Read a users file.

    Raises
    ------
    InvalidInputError
        It cannot be read, or names nobody.
    """
    try:
        rows = json.loads(path.read_bytes())["users"]
        users = {row["name"]: User(row["name"], row["role"], row["scrypt"]) for row in rows}
        for user in users.values():
            if user.role not in get_args(Role) or not user.name or ":" in user.name:
                raise ValueError
            if [len(part) for part in _parts(user.scrypt)] != [_SALT_BYTES, _HASH_BYTES]:
                raise ValueError
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInputError(
            f"{path} cannot be read as a users file; write it with: researchpacs user NAME --role read --users {path}"
        ) from error
    if not users:
        raise InvalidInputError(f"{path} names no user; add one with: researchpacs user NAME --users {path}")
    return users


def write_user(path: Path, user: User) -> None:
    """Add a user to a users file, or replace the one of this name; only the owner may read the file."""
    from researchpacs.storage.durable import write_atomically

    if not user.name or ":" in user.name:
        raise InvalidInputError("a user's name is not empty and has no colon")
    users = read_users(path) if path.exists() else {}
    users[user.name] = user
    rows = [{"name": one.name, "role": one.role, "scrypt": one.scrypt} for one in users.values()]
    before = os.umask(0o077)  # nobody else reads it, also not for a moment
    try:
        write_atomically(path, json.dumps({"users": rows}, indent=2).encode())
    finally:
        os.umask(before)


def needed_role(scope: Scope) -> Role:
    """Reading: to look and ask. Writing: to store, change and delete instances. Admin: also what the server does."""
    if scope["method"] in _READING:
        return "read"
    path = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")
    if path in _ASKING:
        return "read"
    configures = scope["method"] in ("PUT", "DELETE") and path.startswith(_CONFIGURATION)
    return "admin" if configures or path in _REACHING else "write"


def _login_in(authorization: str) -> tuple[str, str] | None:
    """User name and password of Basic authentication (RFC 7617); None where there are none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None


def _proof(name: str, password: str) -> bytes:
    return hashlib.sha256(f"{name}\0{password}".encode()).digest()


def _verify(password: str, stored: str) -> bool:
    salt, expected = _parts(stored)
    return hmac.compare_digest(_scrypt(password, salt), expected)


def _parts(stored: str) -> tuple[bytes, bytes]:
    salt, _, digest = stored.partition("$")
    return base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, dklen=_HASH_BYTES, **_SCRYPT)
