"""AWS's price services on the wire: the EC2 query protocol, Pricing JSON 1.1 and the Spot Advisor's document, by HTTP.

A real server on this machine that real SDK clients talk to. It keeps the services' rules that a client can get wrong: sizes of
pages, tokens bound to their question, what a start time means, filters. And it can be made to throttle, fail, lie, break off and
never end.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from tallygate.money import Money
from tallygate.pricing.offers import PurchaseOption
from tallygate.pricing.source import Observation

from .prices_contract import Key, Shape

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
HTML = (
    "<!DOCTYPE html><html><head><title>Sign in</title></head><body><p>Please sign in to the network.</p></body></html>"
)
KEY_ID, SECRET, TOKEN = (
    "AKIAWIREWIREWIREWIRE",
    "wireSecretAccessKey/0123456789abcdefghij",
    "wireSessionToken//abcdefgh==",
)

LONGEST = "DescribeSpotPriceHistory"
"""The operation with the longest chain of pages."""

ANSWER = "application/x-amz-json-1.1"


@dataclass
class Type:
    """A machine type as the services describe and price it."""

    name: str
    vcpus: int = 2
    mib: int = 8192
    architectures: tuple[str, ...] = ("x86_64",)
    gpus: int = 0
    gpu_model: str | None = None
    gpu_mib: int = 0
    spot: bool = True
    zones: tuple[str, ...] = ("eu-west-1a", "eu-west-1b", "eu-west-1c")
    on_demand: str | None = "0.1000000000"


@dataclass
class SpotRow:
    """One change of a spot price."""

    type: str
    zone: str
    price: str
    at: datetime
    product: str = "Linux/UNIX"


@dataclass
class Trouble:
    """What is wrong with the services at the moment."""

    broken_page: int | None = None
    throttled: int = 0
    html: bool = False
    endless: bool = False
    fresh_tokens: bool = False
    empty: frozenset[str] = frozenset()
    denied: dict[str, str] = field(default_factory=dict)
    cut: frozenset[str] = frozenset()
    severed: frozenset[str] = frozenset()
    silent: float = 0
    answers: dict[str, tuple[int, str, str]] = field(default_factory=dict)


class AwsMarket:
    """A region with a few types in three zones, told by a real server while ``open``."""

    provider = "aws"
    region = "eu-west-1"
    secrets = (KEY_ID, SECRET, TOKEN)

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.requests = 0
        self.asked: list[str] = []
        self.trouble = Trouble()
        self.rewrite: Callable[[str], str] = str
        """What becomes of the body of every answer before it leaves."""
        self.page_rows = {LONGEST: 5, "DescribeInstanceTypes": 4, "DescribeInstanceTypeOfferings": 6, "GetProducts": 3}
        self.regions = {
            "eu-west-1": "opt-in-not-required",
            "us-east-1": "opt-in-not-required",
            "ap-east-1": "not-opted-in",
        }
        self.types = [
            Type("m5.large", on_demand="0.1070000000"),
            Type("c7g.xlarge", 4, 8192, ("arm64",), on_demand="0.1562000000", zones=("eu-west-1a", "eu-west-1b")),
            Type("g5.12xlarge", 48, 196608, gpus=4, gpu_model="A10G", gpu_mib=24576, on_demand="6.3327200000"),
            Type("m5.metal", 96, 393216, on_demand="5.1360000000"),
            Type("t3.nano", 2, 512, ("i386", "x86_64"), on_demand="0.0057000000"),
            Type("u-6tb1.metal", 448, 6291456, spot=False, zones=("eu-west-1a",), on_demand="60.9660000000"),
        ]
        self.spot = list(self._changes())
        self.products: list[dict[str, Any]] = [self.product(each) for each in self.types if each.on_demand]
        # What the services also know, and what the questions must leave out.
        self.spot += [replace(row, product="Windows", price="9.990000") for row in list(self.spot)]
        self.products += [
            self.product(replace(self.types[0], on_demand="0.1990000000"), operatingSystem="Windows"),
            self.product(replace(self.types[0], on_demand="0.1150000000"), tenancy="Dedicated"),
            self.product(
                replace(self.types[0], on_demand="0.0000000000"), capacitystatus="AllocatedCapacityReservation"
            ),
            self.product(replace(self.types[0], on_demand="0.0960000000"), regionCode="us-east-1"),
        ]
        self.advisor: str = json.dumps(
            {
                "global_rate": "<10%",
                "instance_types": {"m5.large": {"emr": True, "cores": 2, "ram_gb": 8.0}},
                "ranges": [
                    {"index": 0, "label": "<5%", "dots": 0, "max": 5},
                    {"index": 1, "label": "5-10%", "dots": 1, "max": 11},
                    {"index": 4, "label": ">20%", "dots": 4, "max": 100},
                ],
                "spot_advisor": {
                    "eu-west-1": {
                        "Linux": {
                            "m5.large": {"s": 68, "r": 0},
                            "c7g.xlarge": {"s": 55, "r": 1},
                            "t3.nano": {"s": 60, "r": 4},
                        },
                        "Windows": {"m5.large": {"s": 20, "r": 4}},
                    }
                },
            }
        )
        self._kept = (list(self.spot), list(self.products), self.advisor)
        self._lock = threading.Lock()

    def _changes(self) -> Iterator[SpotRow]:
        """Three changes a pool, each zone at its own price; the last one before now is in force."""
        for number, each in enumerate(self.types):
            if not each.spot:
                continue
            whole = Decimal(each.on_demand or "1")
            for place, zone in enumerate(each.zones):
                for change, hours in enumerate((400, 30, 3)):
                    share = Decimal(30 + 7 * ((number + place * 2 + change) % 5)) / 100
                    at = self.now - timedelta(hours=hours, minutes=7 * number + place)
                    yield SpotRow(each.name, zone, f"{whole * share:.6f}", at)

    def product(
        self, each: Type, *, unit: str = "Hrs", since: str = "2026-02-01T00:00:00Z", **attributes: str
    ) -> dict[str, Any]:
        """One product of the price list."""
        told = {
            "instanceType": each.name,
            "regionCode": self.region,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
            "licenseModel": "No License required",
            "marketoption": "OnDemand",
            **attributes,
        }
        sku = (
            hashlib.sha256(json.dumps([told, each.on_demand, since], sort_keys=True).encode()).hexdigest()[:16].upper()
        )
        dimension = {
            "unit": unit,
            "beginRange": "0",
            "endRange": "Inf",
            "rateCode": f"{sku}.JRTCKXETXF.6YS6EN2CT7",
            "description": f"${each.on_demand} per On Demand Linux {each.name} Instance Hour",
            "appliesTo": [],
            "pricePerUnit": {"USD": each.on_demand},
        }
        term = {
            "priceDimensions": {dimension["rateCode"]: dimension},
            "sku": sku,
            "effectiveDate": since,
            "offerTermCode": "JRTCKXETXF",
            "termAttributes": {},
        }
        return {
            "product": {"productFamily": "Compute Instance", "attributes": told, "sku": sku},
            "serviceCode": "AmazonEC2",
            "terms": {"OnDemand": {f"{sku}.JRTCKXETXF": term}},
            "version": "20260220000000",
            "publicationDate": "2026-02-20T00:00:00Z",
        }

    # --- what a sheet must say

    def prices(self) -> dict[Key, Money]:
        found: dict[Key, Money] = {
            (each.name, None, PurchaseOption.ON_DEMAND): Money.of(each.on_demand)
            for each in self.types
            if each.on_demand
        }
        for row in sorted((row for row in self._kept[0] if row.product == "Linux/UNIX"), key=lambda row: row.at):
            if row.at <= self.now:
                found[row.type, row.zone, PurchaseOption.SPOT] = Money.of(row.price)
        return found

    def shapes(self) -> dict[str, Shape]:
        return {
            each.name: Shape(
                each.vcpus,
                Decimal(each.mib) / 1024,
                "arm64" if "arm64" in each.architectures else "x86_64",
                each.gpus,
                each.gpu_model,
            )
            for each in self.types
        }

    def changes(self, since: datetime) -> list[Observation]:
        return [
            Observation(
                provider="aws",
                region=self.region,
                zone=row.zone,
                instance_type=row.type,
                purchase_option=PurchaseOption.SPOT,
                at=row.at,
                hourly_price=Money.of(row.price),
            )
            for row in self._since(since, self.now, {"Linux/UNIX"})
        ]

    # --- knobs

    def break_page(self, number: int) -> None:
        self.trouble.broken_page = number

    def throttle(self, times: int) -> None:
        self.trouble.throttled = times

    def answer_html(self) -> None:
        self.trouble.html = True

    def endless(self, *, fresh_tokens: bool = False) -> None:
        self.trouble.endless, self.trouble.fresh_tokens = True, fresh_tokens

    def empty(self, *operations: str) -> None:
        self.trouble.empty = frozenset(operations or {"DescribeRegions", *self.page_rows})

    def poison(self, price: str) -> set[Key]:
        row = max((row for row in self.spot if row.product == "Linux/UNIX"), key=lambda row: row.at)
        self.spot[self.spot.index(row)] = replace(row, price=price)
        return {(row.type, row.zone, PurchaseOption.SPOT)}

    def heal(self) -> None:
        self.trouble, self.rewrite = Trouble(), str
        self.spot, self.products, self.advisor = list(self._kept[0]), list(self._kept[1]), self._kept[2]

    # --- serving

    @contextmanager
    def open(self) -> Iterator[str]:
        """The server's address while it answers."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"market": self}))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, method: str, path: str, headers: Any, body: str) -> _Answer:
        """What the services say to one request."""
        with self._lock:
            self.requests += 1
            found = self._answer(method, path, headers, body)
            return replace(found, body=self.rewrite(found.body))

    def _answer(self, method: str, path: str, headers: Any, body: str) -> _Answer:
        if method == "GET":
            self.asked.append("advisor")
            return self._spoilt("advisor", _Answer(200, "application/json", self.advisor))
        scope = re.search(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request", headers.get("Authorization", ""))
        if scope is None or scope[1] != KEY_ID:
            return _ec2_error(401, "AuthFailure", f"no valid signature by {scope[1] if scope else 'anybody'}")
        region, service = scope[2], scope[3]
        if service == "pricing":
            operation = headers["X-Amz-Target"].partition(".")[2]
            parameters: dict[str, Any] = json.loads(body)
            error: Callable[[int, str, str], _Answer] = _json_error
        else:
            parameters = dict(parse_qsl(body, keep_blank_values=True))
            operation = parameters.pop("Action")
            error = _ec2_error
        self.asked.append(operation)
        if region not in self.regions and service == "ec2":
            return _Answer(0, "", "")  # there is no such host
        trouble = self.trouble
        if trouble.throttled > 0:
            trouble.throttled -= 1
            if service == "pricing":
                return error(400, "ThrottlingException", "Rate exceeded")
            return error(503, "RequestLimitExceeded", "Request limit exceeded.")
        if code := trouble.denied.get(operation):
            # Real refusals have carried what was sent, session tokens included.
            return error(403, code, f"not for {KEY_ID}; the canonical string was x-amz-security-token:{TOKEN} {SECRET}")
        if trouble.html:
            return _Answer(200, "text/html", HTML)
        if operation in trouble.answers:
            return _Answer(*trouble.answers[operation])
        if operation == "DescribeRegions":
            return self._spoilt(operation, self._regions(parameters))
        return self._spoilt(operation, self._page(operation, parameters, error))

    def _spoilt(self, operation: str, answer: _Answer) -> _Answer:
        if operation in self.trouble.cut:
            return replace(answer, body=answer.body[: len(answer.body) * 2 // 3])
        if operation in self.trouble.severed:
            return replace(answer, severed=True)
        return replace(answer, silent=self.trouble.silent)

    def _regions(self, parameters: dict[str, str]) -> _Answer:
        wanted = {value for name, value in parameters.items() if name.startswith("Filter.1.Value")}
        rows = [
            f"<item><regionName>{name}</regionName><regionEndpoint>ec2.{name}.amazonaws.com</regionEndpoint>"
            f"<optInStatus>{status}</optInStatus></item>"
            for name, status in self.regions.items()
            if "DescribeRegions" not in self.trouble.empty and (not wanted or status in wanted)
        ]
        return _xml("DescribeRegions", f"<regionInfo>{''.join(rows)}</regionInfo>")

    def _page(self, operation: str, parameters: dict[str, Any], error: Callable[[int, str, str], _Answer]) -> _Answer:
        low, high = {"DescribeInstanceTypes": (5, 100), "GetProducts": (1, 100)}.get(operation, (5, 1000))
        size = int(parameters.pop("MaxResults", high))
        if not low <= size <= high:
            return error(400, "InvalidParameterValue", f"MaxResults must be between {low} and {high}")
        token = parameters.pop("NextToken", None)
        question = hashlib.sha256(json.dumps([operation, parameters], sort_keys=True).encode()).hexdigest()
        start, asked = 0, question
        if token:
            start, asked = json.loads(base64.b64decode(token))[:2]
        if asked != question:
            return error(400, "InvalidNextToken", "the token belongs to another question")
        rows = [] if operation in self.trouble.empty else self._rows(operation, parameters)
        step = min(size, self.page_rows[operation])
        if operation == LONGEST and self.trouble.broken_page == start // step + 1:
            return error(500, "InternalError", "An internal error has occurred")
        end = start + step
        further = ""
        if end < len(rows) or self.trouble.endless:
            salt = self.requests if self.trouble.fresh_tokens else 0
            further = base64.b64encode(json.dumps([end % max(len(rows), 1), question, salt]).encode()).decode()
        return self._written(operation, rows[start:end], further)

    def _rows(self, operation: str, parameters: dict[str, Any]) -> list[Any]:
        if operation == "DescribeInstanceTypes":
            return list(self.types)
        if operation == "DescribeInstanceTypeOfferings":
            assert parameters["LocationType"] == "availability-zone"
            return [(each.name, zone) for each in self.types for zone in each.zones]
        if operation == LONGEST:
            products = {value for name, value in parameters.items() if name.startswith("ProductDescription.")}
            end = parameters.get("EndTime")
            return self._since(_time(parameters["StartTime"]), _time(end) if end else None, products)
        wanted = {each["Field"]: each["Value"] for each in parameters["Filters"] if each["Type"] == "TERM_MATCH"}
        assert parameters["ServiceCode"] == "AmazonEC2"
        return [
            each
            for each in self.products
            if all(each["product"]["attributes"].get(name) == value for name, value in wanted.items())
        ]

    def _since(self, start: datetime, end: datetime | None, products: set[str]) -> list[SpotRow]:
        """Every change since then, and the last one before for each pool; in no order."""
        found, before = [], {}
        for row in self.spot:
            if products and row.product not in products:
                continue
            if row.at >= start:
                if end is None or row.at <= end:
                    found.append(row)
            else:
                key = (row.type, row.zone, row.product)
                if key not in before or before[key].at < row.at:
                    before[key] = row
        return sorted([*found, *before.values()], key=lambda row: hashlib.sha256(repr(row).encode()).digest())

    def _written(self, operation: str, rows: list[Any], further: str) -> _Answer:
        if operation == "GetProducts":
            document: dict[str, Any] = {"FormatVersion": "aws_v1", "PriceList": [json.dumps(each) for each in rows]}
            if further:
                document["NextToken"] = further
            return _Answer(200, ANSWER, json.dumps(document))
        name, write = {
            "DescribeInstanceTypes": ("instanceTypeSet", _type_xml),
            "DescribeInstanceTypeOfferings": ("instanceTypeOfferingSet", _offering_xml),
            LONGEST: ("spotPriceHistorySet", _spot_xml),
        }[operation]
        token = f"<nextToken>{further}</nextToken>" if further else "<nextToken/>"
        return _xml(operation, f"<{name}>{''.join(write(row) for row in rows)}</{name}>{token}")


@dataclass(frozen=True)
class _Answer:
    status: int
    kind: str
    body: str
    severed: bool = False
    silent: float = 0


class _Handler(BaseHTTPRequestHandler):
    """Hands requests to the market; one connection may carry many."""

    protocol_version = "HTTP/1.1"
    market: AwsMarket

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def _answer(self, body: str) -> None:
        found = self.market.answer(self.command, self.path, self.headers, body)
        if found.silent:
            threading.Event().wait(found.silent)
        if not found.status:
            self.close_connection = True
            return
        data = found.body.encode()
        self.send_response(found.status)
        self.send_header("Content-Type", found.kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if found.severed else data)
        self.close_connection = self.close_connection or found.severed

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _xml(operation: str, inside: str) -> _Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?><{operation}Response xmlns="{NAMESPACE}"><requestId>r-1</requestId>'
    return _Answer(200, "text/xml;charset=UTF-8", f"{body}{inside}</{operation}Response>")


def _ec2_error(status: int, code: str, message: str) -> _Answer:
    body = (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error></Errors></Response>"
    )
    return _Answer(status, "text/xml;charset=UTF-8", body)


def _json_error(status: int, code: str, message: str) -> _Answer:
    return _Answer(status, ANSWER, json.dumps({"__type": f"com.amazonaws.pricing#{code}", "message": message}))


def _spot_xml(row: SpotRow) -> str:
    return (
        f"<item><instanceType>{row.type}</instanceType><productDescription>{row.product}</productDescription>"
        f"<spotPrice>{escape(row.price)}</spotPrice><timestamp>{row.at:%Y-%m-%dT%H:%M:%S}.000Z</timestamp>"
        f"<availabilityZone>{row.zone}</availabilityZone><availabilityZoneId>euw1-az{ord(row.zone[-1]) - 96}"
        "</availabilityZoneId></item>"
    )


def _offering_xml(row: tuple[str, str]) -> str:
    return (
        f"<item><instanceType>{row[0]}</instanceType><locationType>availability-zone</locationType>"
        f"<location>{row[1]}</location></item>"
    )


def _type_xml(each: Type) -> str:
    def items(values: tuple[str, ...]) -> str:
        return "".join(f"<item>{value}</item>" for value in values)

    gpu = (
        f"<gpuInfo><gpus><item><name>{each.gpu_model}</name><manufacturer>NVIDIA</manufacturer><count>{each.gpus}</count>"
        f"<memoryInfo><sizeInMiB>{each.gpu_mib}</sizeInMiB></memoryInfo></item></gpus>"
        f"<totalGpuMemoryInMiB>{each.gpu_mib * each.gpus}</totalGpuMemoryInMiB></gpuInfo>"
        if each.gpus
        else ""
    )
    usage = items(("on-demand", "spot") if each.spot else ("on-demand",))
    return (
        f"<item><instanceType>{each.name}</instanceType><currentGeneration>true</currentGeneration>"
        f"<supportedUsageClasses>{usage}</supportedUsageClasses><bareMetal>{str('metal' in each.name).lower()}</bareMetal>"
        f"<processorInfo><supportedArchitectures>{items(each.architectures)}</supportedArchitectures></processorInfo>"
        f"<vCpuInfo><defaultVCpus>{each.vcpus}</defaultVCpus><defaultCores>{max(each.vcpus // 2, 1)}</defaultCores></vCpuInfo>"
        f"<memoryInfo><sizeInMiB>{each.mib}</sizeInMiB></memoryInfo>{gpu}</item>"
    )
