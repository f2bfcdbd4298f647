"""Sends calls other than messages, as media and search programs do, with the real SDKs.

The words in capitals tell the stand-in what to do; see standin/plan.py.
"""

import asyncio
import json
import os
import ssl
from typing import Any
from unittest.mock import patch

import openai
from google import genai
from google.genai import types
from standin.openai_calls import AUDIO, PNG

GOOGLE_KEY = "AIza-demo-erin-0008"
PICTURE = "An otter with a hat TOKENS:60,1056"
RECORDING: Any = ("hello.mp3", AUDIO)


def use_openai_calls(client: openai.OpenAI) -> None:
    """Make a vector, ranks, images, transcripts and speech; have a text moderated."""
    texts = ["The proxy relays every byte.", "TOKENS:240,0"]
    client.embeddings.create(model="text-embedding-3-small", input=texts)
    client.moderations.create(model="omni-moderation-latest", input="Hello")
    documents = {"model": "rerank-v3.5", "query": "bytes", "documents": texts}
    client.post("/rerank", body=documents, cast_to=object)
    client.images.generate(model="gpt-image-1", prompt=PICTURE)
    for _ in client.images.edit(
        model="gpt-image-1", prompt=PICTURE, image=("otter.png", PNG), stream=True
    ):
        pass
    client.audio.transcriptions.create(model="whisper-1", file=RECORDING)
    client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=RECORDING, prompt="TOKENS:310,45"
    )
    client.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="Hello").read()


def use_batch(client: openai.OpenAI) -> None:
    """Send a batch of two requests, and read its results."""
    path: Any = "/v1/chat/completions"
    said = [{"role": "user", "content": "Summarise the report. TOKENS:5200,640"}]
    asked = {"method": "POST", "url": path, "body": {"model": "gpt-5.2", "messages": said}}
    lines = "\n".join(json.dumps({"custom_id": name, **asked}) for name in ("a", "b"))
    file = client.files.create(file=("batch.jsonl", lines.encode()), purpose="batch")
    made = client.batches.create(input_file_id=file.id, endpoint=path, completion_window="24h")
    done = client.batches.retrieve(made.id)
    client.files.content(str(done.output_file_id))


def use_realtime(client: openai.OpenAI, proxy: str, trust: ssl.SSLContext) -> None:
    """Speak with a model over a WebSocket: it is interrupted once, and hears what was said."""
    connection: Any
    options: Any = {"proxy": proxy, "ssl": trust}
    with client.realtime.connect(
        model="gpt-realtime", websocket_connection_options=options
    ) as connection:
        audio = {"input": {"transcription": {"model": "whisper-1"}}}
        connection.session.update(session={"type": "realtime", "audio": audio})
        connection.input_audio_buffer.commit()
        for said in ("Read me a story. LONG:500 PACE:10 TOKENS:90,400", "Stop. TOKENS:130,20,80"):
            content = [{"type": "input_text", "text": said}]
            item = {"type": "message", "role": "user", "content": content}
            connection.conversation.item.create(item=item)
            connection.response.create()
            while (event := connection.recv()).type != "response.done":
                if event.type == "response.created" and "LONG" in said:
                    connection.response.cancel()


def use_google_calls(proxy: str, trust: ssl.SSLContext) -> None:
    """Ask for an interaction and a vector, and speak with a model over a WebSocket."""
    options = types.HttpOptions(
        headers={"X-AIBridge-Actor": "erin"},
        client_args={"proxy": proxy, "verify": trust},
        async_client_args={"ssl": trust},
    )
    client = genai.Client(api_key=GOOGLE_KEY, http_options=options)
    client.interactions.create(model="gemini-2.5-flash", input="Name a colour. TOKENS:120,30")
    client.models.embed_content(model="gemini-embedding-001", contents="A colour TOKENS:40,0")
    with patch.dict(os.environ, {"https_proxy": proxy}):
        asyncio.run(_speak(client))


async def _speak(client: genai.Client) -> None:
    async with client.aio.live.connect(model="gemini-live-2.5-flash") as session:
        said = types.Content(role="user", parts=[types.Part(text="Hello. TOKENS:150,60")])
        await session.send_client_content(turns=said, turn_complete=True)
        async for _ in session.receive():
            pass
