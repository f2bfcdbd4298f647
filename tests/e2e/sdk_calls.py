"""Every call of every SDK that costs money, with what the SDK states about it to its caller."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from anthropic.types.messages import MessageBatchIndividualResponse
from google.genai import types

from e2e import stated
from e2e.sdk_clients import Sdks
from e2e.stated import Stated

type Call = Callable[[Sdks], list[Stated]]

SAID = "How are you? TOKENS:1000,200,300,40 THINK"
UNCACHED = "How are you? TOKENS:1000,200"
CLAUDE, GPT, GEMINI = "claude-opus-4-8", "gpt-5", "gemini-2.5-flash"
ON_BEDROCK = "anthropic.claude-sonnet-4-5-20250929-v1:0"
ON_VERTEX = "claude-sonnet-4-5@20250929"
USER: list[Any] = [{"role": "user", "content": SAID}]
AUDIO = ("a.mp3", b"\xff\xfb\x90\x64" + bytes(64))
PNG = ("a.png", b"\x89PNG")


def message(client: Any, model: str, **more: Any) -> list[Stated]:
    """Ask for a message, whole and streamed."""
    asked: Any = {"model": model, "max_tokens": 999, "messages": USER}
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    return [stated.anthropic(found, model, **more) for found in (whole, streamed)]


def on_anthropic(sdks: Sdks) -> list[Stated]:
    with sdks.anthropic() as client:
        return message(client, CLAUDE)


def claude_on_bedrock(sdks: Sdks) -> list[Stated]:
    with sdks.anthropic_bedrock() as client:
        return message(client, ON_BEDROCK, api="bedrock_invoke", seller="aws")


def claude_on_vertex(sdks: Sdks) -> list[Stated]:
    with sdks.anthropic_vertex("global") as client:
        found = message(client, ON_VERTEX, seller="google")
    with sdks.anthropic_vertex("europe-west1") as client:
        unpriced = "no price is known for the region"
        return [*found, *message(client, ON_VERTEX, unpriced=unpriced)]


def anthropic_batch(sdks: Sdks) -> list[Stated]:
    params: Any = {"model": CLAUDE, "max_tokens": 9, "messages": USER}
    with sdks.anthropic() as client:
        batches = client.messages.batches
        requests: Any = [{"custom_id": name, "params": params} for name in "ab"]
        made = batches.create(requests=requests)
        assert batches.retrieve(made.id).processing_status == "ended"
        if sdks.is_forward:
            lines = list(batches.results(made.id))
        else:  # the SDK follows an absolute address past the reverse proxy
            path = f"/v1/messages/batches/{made.id}/results"
            found = client.get(path, cast_to=str, options={"headers": {"accept": "*/*"}})
            lines = [anthropic_line(line) for line in str(found).splitlines()]
    messages = [line.result.message for line in lines if line.result.type == "succeeded"]
    return [
        stated.anthropic(m, CLAUDE, api="anthropic_batches", context={"processing": "batch"})
        for m in messages
    ]


def anthropic_line(line: str) -> Any:
    return MessageBatchIndividualResponse.model_validate_json(line)


def chat(client: Any, model: str, **more: Any) -> list[Stated]:
    """Ask for a completion of a chat, whole and streamed."""
    asked: Any = {"model": model, "messages": USER}
    whole = client.chat.completions.create(**asked)
    *_, last = client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    return [
        stated.prompted("openai_chat", whole.model, found.usage, **more) for found in (whole, last)
    ]


def responses(client: Any, model: str, **more: Any) -> list[Stated]:
    """Ask for a response, whole and streamed."""
    whole = client.responses.create(model=model, input=SAID)
    with client.responses.stream(model=model, input=SAID) as stream:
        streamed = stream.get_final_response()
    return [stated.responded(found.usage, model, **more) for found in (whole, streamed)]


def on_openai(sdks: Sdks) -> list[Stated]:
    with sdks.openai() as client:
        found = chat(client, GPT) + responses(client, GPT, unpriced=WRITES)
        session = client.responses.connect(websocket_connection_options=sdks.socket())
        with session as connection:
            connection.response.create(model=GPT, input=UNCACHED)
            while (event := connection.recv()).type != "response.completed":
                pass
        return [*found, stated.responded(event.response.usage, GPT)]


UNLISTED = "the price data has no model"
WRITES = "openai/gpt-5 has no price for cache writes"


def texts(sdks: Sdks) -> list[Stated]:
    model = "gpt-3.5-turbo-instruct"
    with sdks.openai() as client:
        return completions(client, model)


def completions(client: Any, model: str, **more: Any) -> list[Stated]:
    asked: Any = {"model": model, "prompt": UNCACHED}
    whole = client.completions.create(**asked)
    *_, last = client.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    return [
        stated.prompted("openai_completions", model, found.usage, **more) for found in (whole, last)
    ]


def vectors(sdks: Sdks) -> list[Stated]:
    model = "text-embedding-3-small"
    with sdks.openai() as client:
        found = client.embeddings.create(model=model, input=[UNCACHED, "b"])
        assert len(found.data) == 2
        checked = client.moderations.create(model="omni-moderation-latest", input=UNCACHED)
    return [
        stated.prompted("openai_embeddings", model, found.usage),
        Stated(api="openai_moderations", model=checked.model, usd="0"),
    ]


def ranks(sdks: Sdks) -> list[Stated]:
    """Rank documents: OpenAI's SDK has no method for it, but takes any path."""
    with sdks.openai() as client:
        body = {"query": UNCACHED, "documents": ["a", "b"]}
        units: Any = client.post("/rerank", body={**body, "model": "rerank-v3.5"}, cast_to=object)
        tokens: Any = client.post("/rerank", body={**body, "model": "jina-v2"}, cast_to=object)
    billed = units["meta"]["billed_units"]
    unknown = "no price is known for search_units"
    return [
        Stated("rerank", "rerank-v3.5", details=billed, unpriced=unknown),
        Stated(
            "rerank",
            "jina-v2",
            tokens["usage"]["total_tokens"],
            0,
            unpriced="the price data has no",
        ),
    ]


def images(sdks: Sdks) -> list[Stated]:
    model = "gpt-image-1"
    with sdks.openai() as client:
        return pictures(client, model, "dall-e-3")


def pictures(client: Any, model: str, old_model: str, **more: Any) -> list[Stated]:
    asked: Any = {"model": model, "prompt": UNCACHED}
    whole = client.images.generate(**asked)
    edited = client.images.edit(**asked, image=PNG)
    *_, streamed = client.images.generate(**asked, stream=True)
    *_, of_edit = client.images.edit(**asked, image=PNG, stream=True)
    assert client.images.generate(model=old_model, prompt=UNCACHED).usage is None
    found = [
        stated.pictured(one.usage, model, **more) for one in (whole, edited, streamed, of_edit)
    ]
    return [*found, Stated("openai_images", old_model, has_usage=False)]


def audio(sdks: Sdks) -> list[Stated]:
    newer, whisper = "gpt-4o-transcribe", "whisper-1"
    with sdks.openai() as client:
        create = client.audio.transcriptions.create
        asked: Any = {"file": AUDIO}
        found: list[Any] = [create(model=newer, prompt=UNCACHED, **asked)]
        *_, streamed = create(model=newer, prompt=UNCACHED, stream=True, **asked)
        found += [streamed, create(model=whisper, **asked)]
        found.append(create(model=whisper, response_format="verbose_json", **asked))
        assert create(model=whisper, response_format="text", **asked)
        translated = client.audio.translations.create(model=whisper, file=AUDIO)
        assert not hasattr(translated, "usage")
        verbose: Any = client.audio.translations.create(
            model=whisper, file=AUDIO, response_format="verbose_json"
        )
    models = (newer, newer, whisper, whisper)
    transcripts = [stated.heard(one.usage, model) for one, model in zip(found, models, strict=True)]
    silent = Stated("openai_transcriptions", whisper, has_usage=False)
    seconds = transcripts[-1].but(details={"input_audio_seconds": verbose.duration})
    return [*transcripts, silent, silent, seconds]


def speech(sdks: Sdks) -> list[Stated]:
    with sdks.openai() as client:
        return read_aloud(client, "gpt-4o-mini-tts", seller="openai")


def read_aloud(client: Any, model: str, **more: Any) -> list[Stated]:
    create = client.audio.speech.with_streaming_response.create
    asked: Any = {"model": model, "voice": "alloy", "input": UNCACHED}
    with create(**asked) as response:
        assert response.read().startswith(b"\xff\xfb")
    with create(**asked, stream_format="sse") as response:
        *_, last = [line for line in response.iter_lines() if line.startswith("data: ")]
    usage = json.loads(last.removeprefix("data: "))["usage"]
    tokens = Stated("openai_speech", model, usage["input_tokens"], usage["output_tokens"])
    return [tokens.but(has_usage=False, input=None, output=None), tokens.but(**more)]


def openai_batch(sdks: Sdks) -> list[Stated]:
    with sdks.openai() as client:
        return batch(client, GPT)


def batch(client: Any, model: str, **more: Any) -> list[Stated]:
    path: Any = "/v1/chat/completions"
    asked = {"method": "POST", "url": path, "body": {"model": model, "messages": USER}}
    lines = [json.dumps({"custom_id": name, **asked}) for name in "ab"]
    content = ("batch.jsonl", "\n".join(lines).encode())
    file = client.files.create(file=content, purpose="batch")
    made = client.batches.create(completion_window="24h", endpoint=path, input_file_id=file.id)
    done = client.batches.retrieve(made.id)
    results = client.files.content(str(done.output_file_id)).text.splitlines()
    assert len(results) == 2
    found = stated.responded(done.usage, model, api="openai_batches", **more)
    return [found.but(context={"processing": "batch"})]


def realtime(sdks: Sdks) -> list[Stated]:
    with sdks.openai() as client:
        return conversation(client, "gpt-realtime", sdks.socket())


def conversation(client: Any, model: str, socket: dict[str, Any], **more: Any) -> list[Stated]:
    said = {
        "completed": SAID,
        "incomplete": f"{UNCACHED} STOP_SHORT",
        "failed": f"{UNCACHED} ERROR_EVENT",
        "cancelled": f"{UNCACHED} LONG:1000 PACE:10",
    }
    session = client.realtime.connect(model=model, websocket_connection_options=socket)
    with session as connection:
        found = [spoken(connection, text, status) for status, text in said.items()]
        transcription: Any = {"input": {"transcription": {"model": "whisper-1"}}}
        connection.session.update(session={"type": "realtime", "audio": transcription})
        connection.input_audio_buffer.append(audio="AAAA")
        connection.input_audio_buffer.commit()
        heard = "conversation.item.input_audio_transcription.completed"
        while (event := connection.recv()).type != heard:
            pass
    calls = [stated.spoken(response, model, **more) for response in found]
    statuses = {"incomplete": "completed"}
    outcomes = [statuses.get(str(response.status), str(response.status)) for response in found]
    return [
        *(call.but(status=outcome) for call, outcome in zip(calls, outcomes, strict=True)),
        stated.heard(event.usage, "whisper-1", api="openai_realtime", **more),
    ]


def spoken(connection: Any, text: str, status: str) -> Any:
    """Ask for a response, which a client that wants it cancelled cancels; return its end."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    connection.conversation.item.create(item=item)
    connection.response.create()
    while (event := connection.recv()).type != "response.done":
        if event.type == "response.created" and status == "cancelled":
            connection.response.cancel()
    assert event.response.status == status
    return event.response


def on_azure(sdks: Sdks) -> list[Stated]:
    deployment = "our-chat"
    with sdks.azure() as client:
        found = chat(client, deployment, seller="azure")
        found += responses(client, deployment, seller="azure", unpriced="azure/gpt-5 has no price")
        vector = client.embeddings.create(model="text-embedding-3-small", input=UNCACHED)
        drawn = client.images.generate(model="gpt-image-1", prompt=UNCACHED)
        said = client.audio.transcriptions.create(model="our-whisper", file=AUDIO, prompt=UNCACHED)
    unlisted: Any = {"seller": "azure", "unpriced": UNLISTED}
    smaller = [
        stated.pictured(drawn.usage, "gpt-image-1", seller="azure"),
        stated.heard(said.usage, "our-whisper", **unlisted),
    ]
    named = [call.but(priced_as=GPT) for call in found]
    model = "text-embedding-3-small"
    embedded = stated.prompted("openai_embeddings", model, vector.usage, seller="azure")
    return [*named, *smaller, embedded]


def others_on_azure(sdks: Sdks) -> list[Stated]:
    socket = sdks.socket(is_tls=True)
    with sdks.azure() as client:
        return [
            *completions(client, "gpt-3.5-turbo-instruct", seller="azure"),
            *pictures(client, "gpt-image-1", "dall-e-3", seller="azure"),
            *read_aloud(client, "gpt-4o-mini-tts", seller="azure"),
            *batch(client, GPT, unpriced="azure has no prices of its own"),
            *conversation(client, "gpt-realtime", socket, seller="azure"),
        ]


def generated(sdks: Sdks) -> list[Stated]:
    with sdks.google() as client:
        return contents(client)


def contents(client: Any) -> list[Stated]:
    whole = client.models.generate_content(model=GEMINI, contents=SAID)
    *_, last = client.models.generate_content_stream(model=GEMINI, contents=SAID)
    assert client.models.count_tokens(model=GEMINI, contents=SAID).total_tokens
    return [stated.generated(one.usage_metadata, GEMINI) for one in (whole, last)]


def google_vectors(sdks: Sdks) -> list[Stated]:
    model = "gemini-embedding-001"
    with sdks.google() as client:
        usage = client.models.embed_content(model=model, contents=UNCACHED).usage_metadata
    return [Stated("gemini_embeddings", model, usage.prompt_token_count, 0, seller="google")]


def interactions(sdks: Sdks) -> list[Stated]:
    found = []
    for provider in ("gemini", "vertex"):
        found += interacted(sdks, provider)
    return found


def interacted(sdks: Sdks, provider: str) -> list[Stated]:
    with sdks.google(provider) as client:
        asked: Any = {"model": GEMINI, "input": SAID}
        whole: Any = client.interactions.create(**asked)
        *_, last = [
            event
            for event in client.interactions.create(stream=True, **asked)
            if event.event_type == "interaction.completed"
        ]
    return [stated.interacted(found.usage, GEMINI) for found in (whole, last.interaction)]


def google_batch(sdks: Sdks) -> list[Stated]:
    request: Any = {"contents": [{"parts": [{"text": SAID}], "role": "user"}]}
    with sdks.google() as client:
        job = client.batches.create(model=GEMINI, src=[request, request])
        done = client.batches.get(name=str(job.name))
    assert done.dest
    usages = [
        one.response.usage_metadata for one in done.dest.inlined_responses or () if one.response
    ]
    batch = {"context": {"processing": "batch"}, "api": "gemini_batches"}
    return [stated.generated(usage, GEMINI, **batch) for usage in usages]


def google_pictures(sdks: Sdks) -> list[Stated]:
    model = "imagen-4.0-generate-001"
    with sdks.google("vertex") as client:
        made = client.models.generate_images(
            model=model, prompt="A cat", config={"number_of_images": 2}
        )
    count = len(made.generated_images or ())
    images = {"output_images": count}
    return [Stated("gemini_predictions", model, details=images, unpriced="no price is known for")]


def caches(sdks: Sdks) -> list[Stated]:
    return [cached(sdks, "gemini"), cached(sdks, "vertex")]


def cached(sdks: Sdks, provider: str) -> Stated:
    with sdks.google(provider) as client:
        made = client.caches.create(model=GEMINI, config={"contents": UNCACHED})
    written = made.usage_metadata.total_token_count
    reason = f"google/{GEMINI} has no price for cache writes"
    return Stated("gemini_caches", GEMINI, 0, 0, write=written, unpriced=reason)


def on_vertex(sdks: Sdks) -> list[Stated]:
    with sdks.google("vertex") as client:
        found = contents(client)
        vector = client.models.embed_content(model="text-embedding-005", contents="abcdefgh")
    statistics = vector.embeddings[0].statistics
    model = "text-embedding-005"
    tokens = Stated("gemini_predictions", model, int(statistics.token_count), 0, unpriced=UNLISTED)
    return [*found, tokens]


def live(sdks: Sdks) -> list[Stated]:
    return asyncio.run(_live(sdks, "gemini"))


def live_on_vertex(sdks: Sdks) -> list[Stated]:
    return asyncio.run(_live(sdks, "vertex"))


async def _live(sdks: Sdks, provider: str) -> list[Stated]:
    model = "gemini-live-2.5-flash"
    usages = []
    async with sdks.live(model, provider) as session:
        for said in (UNCACHED, f"{UNCACHED} LONG:1000 PACE:10"):
            await session.send_client_content(turns=turn(said), turn_complete=True)
            if "PACE" in said:  # the client speaks again before the turn has ended
                await session.send_client_content(turns=turn(UNCACHED), turn_complete=True)
                *_, last = [message async for message in session.receive()]
                usages.append(last.usage_metadata)
            *_, last = [message async for message in session.receive()]
            usages.append(last.usage_metadata)
    whole, interrupted, after = [
        stated.generated(usage, model, api="gemini_live") for usage in usages
    ]
    return [whole, interrupted.but(status="cancelled"), after]


def turn(said: str) -> types.Content:
    return types.Content(role="user", parts=[types.Part(text=said)])


def bedrock(sdks: Sdks) -> list[Stated]:
    messages: Any = [{"role": "user", "content": [{"text": SAID}]}]
    body = json.dumps({"anthropic_version": "x", "max_tokens": 9, "messages": USER})
    with sdks.boto3() as client:
        whole = client.converse(modelId=ON_BEDROCK, messages=messages)
        *_, last = client.converse_stream(modelId=ON_BEDROCK, messages=messages)["stream"]
        answer = client.invoke_model(modelId=ON_BEDROCK, body=body)
        invoked = json.loads(answer["body"].read())["usage"]
    usages = (whole["usage"], last["metadata"]["usage"])
    counts = Stated(
        "bedrock_invoke",
        ON_BEDROCK,
        invoked["input_tokens"],
        invoked["output_tokens"],
        invoked["cache_read_input_tokens"],
        invoked["cache_creation_input_tokens"],
        seller="aws",
    )
    return [*(stated.conversed(usage, ON_BEDROCK) for usage in usages), counts]


def other_models(sdks: Sdks) -> list[Stated]:
    """Invoke models of which each names its counts in its own way."""
    nova: Any = {"messages": [{"role": "user", "content": [{"text": SAID}]}]}
    with sdks.boto3() as client:
        found = invoked(client, "amazon.nova-lite-v1:0", nova)["usage"]
        llama = invoked(client, "meta.llama3-1-8b-instruct-v1:0", {"prompt": UNCACHED})
        titan = invoked(client, "amazon.titan-text-express-v1", {"inputText": UNCACHED})
        vector = invoked(client, "amazon.titan-embed-text-v2:0", {"inputText": UNCACHED})
        *_, last = client.invoke_model_with_response_stream(
            modelId="amazon.nova-lite-v1:0", body=json.dumps(nova)
        )["body"]
    of_nova = Stated(
        "bedrock_invoke",
        "amazon.nova-lite-v1:0",
        found["inputTokens"],
        found["outputTokens"],
        found["cacheReadInputTokenCount"],
        found["cacheWriteInputTokenCount"],
        unpriced="aws/amazon.nova-lite-v1:0 has no price for cache writes",
    )
    metrics = json.loads(last["chunk"]["bytes"])["amazon-bedrock-invocationMetrics"]
    counts = {
        "meta.llama3-1-8b-instruct-v1:0": (
            *(llama["prompt_token_count"], llama["generation_token_count"]),
        ),
        "amazon.titan-text-express-v1": (
            *(titan["inputTextTokenCount"], titan["results"][0]["tokenCount"]),
        ),
        "amazon.titan-embed-text-v2:0": (vector["inputTextTokenCount"], 0),
    }
    others = [
        Stated("bedrock_invoke", model, given, made, seller="aws")
        for model, (given, made) in counts.items()
    ]
    streamed = of_nova.but(input=metrics["inputTokenCount"], output=metrics["outputTokenCount"])
    return [of_nova, streamed, *others]


def invoked(client: Any, model: str, body: Any) -> Any:
    """Return the response of a model."""
    return json.loads(client.invoke_model(modelId=model, body=json.dumps(body))["body"].read())


def ollama(sdks: Sdks) -> list[Stated]:
    model = "qwen3:8b"
    messages = [{"role": "user", "content": UNCACHED}]
    with sdks.ollama() as client:
        *_, streamed = client.chat(model, messages, stream=True)
        chats = (client.chat(model, messages), streamed)
        *_, streamed = client.generate(model, UNCACHED, stream=True)
        texts = (client.generate(model, UNCACHED), streamed)
        vector = client.embed(model, [UNCACHED])
    return [
        *(stated.evaluated(found, "ollama_chat", model) for found in chats),
        *(stated.evaluated(found, "ollama_generate", model) for found in texts),
        stated.evaluated(vector, "ollama_embeddings", model),
    ]


CALLS: Mapping[str, Call] = {
    "anthropic": on_anthropic,
    "anthropic_batch": anthropic_batch,
    "anthropic_bedrock": claude_on_bedrock,
    "anthropic_vertex": claude_on_vertex,
    "openai": on_openai,
    "openai_completions": texts,
    "openai_embeddings_and_moderation": vectors,
    "openai_rerank": ranks,
    "openai_images": images,
    "openai_audio": audio,
    "openai_speech": speech,
    "openai_batch": openai_batch,
    "openai_realtime": realtime,
    "azure": on_azure,
    "azure_other_calls": others_on_azure,
    "google": generated,
    "google_embeddings": google_vectors,
    "google_interactions": interactions,
    "google_batch": google_batch,
    "google_images": google_pictures,
    "google_caches": caches,
    "google_live": live,
    "vertex_live": live_on_vertex,
    "vertex": on_vertex,
    "boto3": bedrock,
    "boto3_other_models": other_models,
    "ollama": ollama,
}
"""By a name for the log of the tests."""
