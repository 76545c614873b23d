"""The backtest api of the test stack: a small, real FastAPI application.

Some of its releases are bad, as releases are: those that FAILING names (default v1.6.0) answer
well for FAIL_AFTER seconds (default 3) and then never again; v1.7.0 fails from its first request.
"""
import os
import time
from contextlib import closing

import psycopg2
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

VERSION = os.environ.get("VERSION", "dev")
HAS_INTERVAL = VERSION.startswith(("v1.8.", "v1.9."))
FAILING = (os.environ.get("FAILING") or "v1.6.0").split()
FAILS_AFTER = {
    "v1.7.0": 0.0,
    **dict.fromkeys(FAILING, float(os.environ.get("FAIL_AFTER") or 3)),
}.get(VERSION)
STARTED = time.monotonic()

app = FastAPI(title="backtests", version=VERSION, docs_url=None, redoc_url=None)


class Backtest(BaseModel):
    symbol: str
    interval: str = "1h"


def connect():
    return psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=2)


def failing() -> bool:
    return FAILS_AFTER is not None and time.monotonic() - STARTED >= FAILS_AFTER


@app.get("/health")
def health():
    if failing():
        raise HTTPException(500, "the strategy engine is stuck")
    try:
        with closing(connect()) as db, db.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.Error:
        raise HTTPException(503, "database not reachable")
    return {"status": "healthy", "version": VERSION}


@app.get("/version")
def version():
    return {"version": VERSION}


@app.get("/api/backtests")
def list_backtests():
    columns = "id, symbol, interval" if HAS_INTERVAL else "id, symbol"
    with closing(connect()) as db, db.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM backtests ORDER BY id")
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor]


@app.post("/api/backtests", status_code=201)
def add_backtest(backtest: Backtest):
    values = {"symbol": backtest.symbol}
    if HAS_INTERVAL:
        values["interval"] = backtest.interval
    columns = ", ".join(values)
    places = ", ".join(f"%({name})s" for name in values)
    with closing(connect()) as db, db, db.cursor() as cursor:
        cursor.execute(f"INSERT INTO backtests ({columns}) VALUES ({places}) RETURNING id", values)
        return {"id": cursor.fetchone()[0], **values}
