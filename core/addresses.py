"""Addresses of servers that an administrator names: their form, and whether they lie inside the house."""

from __future__ import annotations

import ipaddress
import socket
from typing import Literal
from urllib.parse import urlsplit

Reach = Literal["this machine", "inside", "outside", "unknown"]


def server_urls(text: str) -> tuple[str, ...]:
    """The addresses of a comma-separated setting, without a slash at the end; `/v1` where no path is given.

    Raises:
        ValueError: one is no address of a server, carries a password, or is plain HTTP to a public IP address.
    """
    found = [_server_url(part.strip()) for part in text.split(",") if part.strip()]
    twice = next((url for url in found if found.count(url) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is there twice; name each server once")
    return tuple(found)


def reach(url: str) -> Reach:
    """Where requests to this address go, by the addresses that its name has now; the farthest counts.

    `inside` are private and link-local addresses; `unknown` a name that cannot be looked up now. Asks the name server.
    """
    host = urlsplit(url).hostname or ""
    try:
        rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return "unknown"
    ips = {ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in rows}
    if any(ip.is_global for ip in ips):
        return "outside"
    return "this machine" if all(ip.is_loopback for ip in ips) else "inside"


def _server_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{_hidden(text)!r} is no address: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"{_hidden(text)!r} is no address of a server; write it like 'http://10.0.0.5:8080/v1'")
    if "@" in parts.netloc:
        raise ValueError(f"{_hidden(text)!r} carries a user or password; the key has a variable of its own")
    if parts.query or parts.fragment or any(sign.isspace() for sign in text):
        raise ValueError(f"{text!r} must end with the path, without '?', '#' or spaces")
    if parts.scheme == "http" and _is_public(host):
        raise ValueError(f"{text!r} would carry questions and passages over the open network in plain HTTP; use https")
    path = parts.path.rstrip("/") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return False  # a name: what it leads to is looked at when it is used


def _hidden(text: str) -> str:
    """Without what may be a password."""
    return f"…@{text.rpartition('@')[2]}" if "@" in text else text
