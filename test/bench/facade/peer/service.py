"""The kind of mail service that Cartero replaces: FastAPI and uvicorn, smtplib, SQLite, a queue in memory.

Nothing here is slow on purpose. It is what a careful author writes with these libraries: plain functions, which FastAPI
runs on its pool of threads, a connection per mail, a record of every mail, one worker thread behind a queue.

    API_KEY=… SMTP_SERVER=… SMTP_FROM=… python3 service.py
"""

import json
import logging
import os
import queue
import re
import secrets
import smtplib
import sqlite3
import threading
from contextlib import closing
from datetime import datetime, timezone
from email.message import EmailMessage
from email.utils import make_msgid
from typing import List, Optional, Union

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential

API_KEYS = [key for key in os.environ["API_KEY"].split(",") if key]
SMTP_SERVER = os.environ["SMTP_SERVER"]
SMTP_PORT = int(os.environ.get("SMTP_PORT", "587"))
SMTP_USERNAME = os.environ.get("SMTP_USERNAME", "")
SMTP_PASSWORD = os.environ.get("SMTP_PASSWORD", "")
SMTP_USE_TLS = os.environ.get("SMTP_USE_TLS", "true").lower() == "true"
SMTP_FROM = os.environ.get("SMTP_FROM") or SMTP_USERNAME
SMTP_TIMEOUT = 30  # seconds
DATABASE = os.environ.get("DATABASE_PATH", "mails.db")
QUEUE_MAXSIZE = int(os.environ.get("QUEUE_MAXSIZE", "10000"))
MAX_BODY = 8 << 20  # bytes of a request
RETRY_WAIT = float(os.environ.get("RETRY_WAIT", "1"))  # seconds before the second attempt

log = logging.getLogger("mail")


# The record of mails.

local = threading.local()


def database() -> sqlite3.Connection:
    """One connection per thread, kept."""
    if not hasattr(local, "database"):
        local.database = sqlite3.connect(DATABASE, timeout=30)
        local.database.execute("PRAGMA synchronous = FULL")
    return local.database


def create_tables() -> None:
    with closing(sqlite3.connect(DATABASE)) as db, db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(
            "CREATE TABLE IF NOT EXISTS mails (id INTEGER PRIMARY KEY, sent_at TEXT NOT NULL, recipient TEXT NOT NULL,"
            " subject TEXT NOT NULL, message_type TEXT, success INTEGER NOT NULL, error TEXT)"
        )


def record(recipient: str, subject: str, message_type: Optional[str], error: Optional[str]) -> None:
    with database() as db:
        db.execute(
            "INSERT INTO mails (sent_at, recipient, subject, message_type, success, error) VALUES (?, ?, ?, ?, ?, ?)",
            (datetime.now(timezone.utc).isoformat(), recipient, subject, message_type, error is None, error),
        )


# Sending.


class SendRequest(BaseModel):
    to: Union[str, List[str]]
    subject: str
    body: str
    message_type: Optional[str] = None
    content_type: Optional[str] = None

    def recipients(self) -> List[str]:
        return [self.to] if isinstance(self.to, str) else self.to


HTML = re.compile(r"<\s*(!doctype|html|body|div|p|br|table|a|h[1-6]|b|strong|em|ul|span)\b", re.IGNORECASE)


def compose(request: SendRequest, recipient: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = SMTP_FROM
    message["To"] = recipient
    message["Subject"] = request.subject
    message["Message-ID"] = make_msgid(domain=SMTP_FROM.rpartition("@")[2])
    content_type = request.content_type or ("text/html" if HTML.search(request.body) else "text/plain")
    message.set_content(request.body, subtype=content_type.partition("/")[2])
    return message


def temporary(error: BaseException) -> bool:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code < 500 for code, _ in error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code < 500
    return isinstance(error, (smtplib.SMTPException, OSError))


@retry(
    stop=stop_after_attempt(3),
    wait=wait_exponential(multiplier=RETRY_WAIT, max=10),
    retry=retry_if_exception(temporary),
    reraise=True,
)
def deliver(message: EmailMessage) -> None:
    implicit = SMTP_USE_TLS and SMTP_PORT == 465
    connect = smtplib.SMTP_SSL if implicit else smtplib.SMTP
    with connect(SMTP_SERVER, SMTP_PORT, local_hostname="localhost", timeout=SMTP_TIMEOUT) as smtp:
        if SMTP_USE_TLS and not implicit:
            smtp.starttls()
        if SMTP_USERNAME:
            smtp.login(SMTP_USERNAME, SMTP_PASSWORD)
        smtp.send_message(message)


def send_to_all(request: SendRequest) -> List[str]:
    """Sends one mail to each, records it, and returns what went wrong."""
    errors = []
    for recipient in request.recipients():
        error = None
        try:
            deliver(compose(request, recipient))
        except Exception as cause:  # every failure is recorded and told
            error = f"{type(cause).__name__}: the mail could not be sent"
            log.warning("sending failed: %s", type(cause).__name__)
            errors.append(error)
        record(recipient, request.subject, request.message_type, error)
    return errors


# The queue of /send_async.

mails: "queue.Queue[SendRequest]" = queue.Queue(maxsize=QUEUE_MAXSIZE)


def work() -> None:
    while True:
        request = mails.get()
        try:
            send_to_all(request)
        except Exception:
            log.exception("a mail from the queue failed")
        finally:
            mails.task_done()


# HTTP.

app = FastAPI(title="Mail service")


class Health(JSONResponse):
    """JSON as json.dumps writes it by default, which is how the services answered."""

    def render(self, content: object) -> bytes:
        return json.dumps(content).encode()


def authorized(x_api_key: Optional[str] = Header(None)) -> None:
    given = (x_api_key or "").encode()
    if not any([secrets.compare_digest(given, key.encode()) for key in API_KEYS]):
        raise HTTPException(status_code=401, detail="Invalid API key")


@app.on_event("startup")
def start() -> None:
    create_tables()
    threading.Thread(target=work, daemon=True).start()


@app.post("/send", dependencies=[Depends(authorized)])
def send(request: SendRequest):
    errors = send_to_all(request)
    if errors and len(errors) == len(request.recipients()):
        return JSONResponse({"ok": False, "error": errors[0]}, status_code=500)
    return {"ok": True}


@app.post("/send_async", status_code=202, dependencies=[Depends(authorized)])
async def send_async(request: SendRequest):
    try:
        mails.put_nowait(request)
    except queue.Full:
        return JSONResponse({"ok": False, "error": "the queue is full"}, status_code=503)
    return {"ok": True}


@app.get("/health", response_class=Health)
async def health():
    return {"status": "ok"}


def limited(app):
    """Refuses bodies that are too large before they are read."""

    async def serve(scope, receive, send):
        length = dict(scope.get("headers", ())).get(b"content-length", b"0")
        if scope["type"] == "http" and int(length) > MAX_BODY:
            app_or_refusal = JSONResponse({"detail": "the body is too large"}, status_code=413)
        else:
            app_or_refusal = app
        await app_or_refusal(scope, receive, send)

    return serve


if __name__ == "__main__":
    uvicorn.run(
        limited(app),
        host=os.environ.get("SERVICE_HOST", "127.0.0.1"),
        port=int(os.environ.get("SERVICE_PORT", "8000")),
        log_level=os.environ.get("LOG_LEVEL", "info"),
        access_log=os.environ.get("ACCESS_LOG", "true").lower() == "true",
    )
