# SPDX-License-Identifier: Apache-2.0
"""What Sluice is measured beside: the same service as a small Flask application, written as one would write it first.

The limiter is the plain pipeline over a sorted set, MULTI ZADD ZREMRANGEBYSCORE ZCARD EXPIRE EXEC in one round trip;
links are rows of PostgreSQL, one connection a request. Every process keeps a pool of connections to Redis.

    DATABASE=postgresql://... REDIS=redis://... gunicorn --workers 2 --bind 127.0.0.1:8000 app:app
"""
import os
import secrets
import string
import time
import uuid

import psycopg2
import redis
from flask import Flask, jsonify, redirect, request
from werkzeug.middleware.proxy_fix import ProxyFix

LIMIT, WINDOW_S = int(os.environ.get("LIMIT", "10")), 60
ALPHABET = string.ascii_letters + string.digits

app = Flask(__name__)
app.wsgi_app = ProxyFix(app.wsgi_app)
store = redis.Redis.from_url(os.environ["REDIS"])


def connect():
    return psycopg2.connect(os.environ["DATABASE"])


def create_table():
    connection = connect()
    with connection, connection.cursor() as cursor:
        # Several workers start at once, and IF NOT EXISTS alone does not keep them apart.
        cursor.execute("SELECT pg_advisory_xact_lock(1)")
        cursor.execute("CREATE TABLE IF NOT EXISTS urls (short text PRIMARY KEY, original text NOT NULL)")
    connection.close()


create_table()


@app.before_request
def limit():
    now = time.time()
    key = f"rate_limit:{request.remote_addr}"
    pipeline = store.pipeline()
    pipeline.zadd(key, {uuid.uuid4().hex: now})
    pipeline.zremrangebyscore(key, 0, now - WINDOW_S)
    pipeline.zcard(key)
    pipeline.expire(key, WINDOW_S)
    if pipeline.execute()[2] > LIMIT:
        return jsonify(error="Rate limit exceeded"), 429
    return None


@app.get("/")
def index():
    return "URL Shortener is running!\n"


@app.post("/shorten")
def shorten():
    code = "".join(secrets.choice(ALPHABET) for _ in range(6))
    connection = connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO urls VALUES (%s, %s)", (code, request.form["url"]))
    connection.close()
    return jsonify(short_url=f"/{code}")


@app.get("/<code>")
def follow(code):
    connection = connect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT original FROM urls WHERE short = %s", (code,))
        row = cursor.fetchone()
    connection.close()
    return redirect(row[0]) if row else ("URL not found", 404)
