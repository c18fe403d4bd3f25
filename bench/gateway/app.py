"""FastAPI, pydantic models, onnxruntime; served by uvicorn with uvloop and httptools, without an access log.

As its manual says: a handler that blocks is a plain `def`, which runs in FastAPI's thread pool; the session has its defaults.
With TUNED=1 the handler runs in the event loop, and the session has one thread that does not spin, which is quicker here.

No routing, no log. It featurizes as the gateway does (xxHash64 of the text, float32) and answers the best candidates.
"""

import os
from typing import Optional, Union

import numpy as np
import onnxruntime
import xxhash
from fastapi import FastAPI
from pydantic import BaseModel

Value = Union[str, int, float, None]

CATEGORICAL = [
    ("user", "viewer"),
    ("user", "country"),
    ("context", "device"),
    ("candidate", "item"),
    ("candidate", "author"),
    ("candidate", "category"),
    ("candidate", "language"),
    ("candidate", "format"),
]
NUMERIC = [
    ("user", "user_clicks"),
    ("user", "user_age_days"),
    ("candidate", "age_hours"),
    ("candidate", "clicks"),
    ("candidate", "shows"),
    ("candidate", "rate"),
    ("candidate", "quality"),
    ("candidate", "length"),
]


class Candidate(BaseModel):
    id: str
    features: dict[str, Value] = {}


class RankRequest(BaseModel):
    requestId: str
    line: str
    userId: str
    user: dict[str, Value] = {}
    context: dict[str, Value] = {}
    candidates: list[Candidate]
    limit: Optional[int] = None


class Item(BaseModel):
    id: str
    score: float
    position: int


class RankAnswer(BaseModel):
    requestId: str
    version: int
    arm: str
    epoch: int
    items: list[Item]


def feature_id(value: Value) -> int:
    if value is None or value == "":
        return 0
    return xxhash.xxh64_intdigest(str(value).encode()) or 1


def number(value: Value) -> float:
    return float("nan") if value is None else float(value)


tuned = os.environ.get("TUNED") == "1"
options = onnxruntime.SessionOptions()
if tuned:
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
app = FastAPI()


def featurize(request: RankRequest) -> tuple[np.ndarray, np.ndarray]:
    count = len(request.candidates)
    ids = np.empty((count, len(CATEGORICAL)), dtype=np.uint64)
    dense = np.empty((count, len(NUMERIC)), dtype=np.float32)
    shared = {"user": request.user, "context": request.context}
    for matrix, columns, convert in ((ids, CATEGORICAL, feature_id), (dense, NUMERIC, number)):
        for column, (source, name) in enumerate(columns):
            if source == "candidate":
                matrix[:, column] = [convert(candidate.features.get(name)) for candidate in request.candidates]
            else:
                matrix[:, column] = convert(shared[source].get(name))
    return ids.view(np.int64), dense


def rank(request: RankRequest) -> RankAnswer:
    ids, dense = featurize(request)
    (scores,) = session.run(["probability"], {"ids": ids, "dense": dense})
    order = np.argsort(-scores, kind="stable")[: request.limit]
    items = [
        Item(id=request.candidates[index].id, score=float(scores[index]), position=position)
        for position, index in enumerate(order)
    ]
    return RankAnswer(requestId=request.requestId, version=1, arm="stable", epoch=1, items=items)


async def rank_in_loop(request: RankRequest) -> RankAnswer:
    return rank(request)


app.post("/v1/rank")(rank_in_loop if tuned else rank)


if __name__ == "__main__":
    import json
    import socket

    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, access_log=False, log_level="warning")
    print(json.dumps({"listening": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    uvicorn.Server(config).run(sockets=[listener])
