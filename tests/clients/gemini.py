"""Asks Gemini CLI a question, with each of its logins."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from clients.places import Mode, Place, Ran
from clients.programs import GEMINI_CLI, program

KEY = "AIza0123456789abcdefghij"
ACCESS_TOKEN = "ya29.a0-0123456789abcdefghij"
GEMINI_KEY = {"GEMINI_API_KEY": KEY}
VERTEX = {"GOOGLE_GENAI_USE_VERTEXAI": "true"}
VERTEX_KEY = {**VERTEX, "GOOGLE_API_KEY": KEY}
VERTEX_PROJECT = {
    **VERTEX,
    "GOOGLE_CLOUD_PROJECT": "acme-project",
    "GOOGLE_CLOUD_LOCATION": "us-central1",
}

type Login = Callable[[Place], dict[str, str]]
"""Leaves the files of a login in the home folder; returns its variables."""


def service_account(place: Place) -> dict[str, str]:
    """Log in with the key of a service account, which is exchanged for an access token."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "project_id": "acme-project",
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": "robot@acme-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return VERTEX_PROJECT | _credentials(place, account)


def user_credentials(place: Place) -> dict[str, str]:
    """Log in with what `gcloud auth application-default login` leaves."""
    user = {
        "type": "authorized_user",
        "client_id": "client.apps.googleusercontent.com",
        "client_secret": "secret-of-the-program",
        "refresh_token": "1//refresh-0123456789abcdefghij",
    }
    return VERTEX_PROJECT | _credentials(place, user)


def workload(place: Place, token_url: str) -> dict[str, str]:
    """Log in as a workload elsewhere does, with a token of its own for one of Google."""
    own = place.home / "own.token"
    own.write_text("token-of-the-workload")
    pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
    account = {
        "type": "external_account",
        "audience": pool,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": token_url,
        "credential_source": {"file": str(own)},
    }
    return VERTEX_PROJECT | _credentials(place, account)


def _credentials(place: Place, content: dict[str, Any]) -> dict[str, str]:
    path = place.home / "credentials.json"
    path.write_text(json.dumps(content))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}


def google_login(place: Place) -> dict[str, str]:
    """Leave what a login with Google leaves in the home folder."""
    credentials = {
        "access_token": ACCESS_TOKEN,
        "refresh_token": "1//refresh-0123456789abcdefghij",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "token_type": "Bearer",
        "expiry_date": int(time.time() + 3600) * 1000,
    }
    _folder(place).joinpath("oauth_creds.json").write_text(json.dumps(credentials))
    return {"GOOGLE_GENAI_USE_GCA": "true"}


def google_access_token(place: Place) -> dict[str, str]:
    """Log in with an access token in a variable."""
    return {"GOOGLE_GENAI_USE_GCA": "true", "GOOGLE_CLOUD_ACCESS_TOKEN": ACCESS_TOKEN}


def gemini(
    place: Place, asked: str, *more: str, mode: Mode, env: dict[str, str] = GEMINI_KEY
) -> tuple[Ran, Any]:
    """Run Gemini CLI; return what it printed, decoded."""
    settings: dict[str, Any] = {
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True, "disableUpdateNag": True},
    }
    if "GEMINI_API_KEY" in env:  # without the setting it does not start with a base URL
        settings["security"] = {"auth": {"selectedType": "gemini-api-key"}}
    _folder(place).joinpath("settings.json").write_text(json.dumps(settings))
    command: list[str | Path] = [program(GEMINI_CLI), "-p", asked, "--output-format", "json", *more]
    variables = {**env, "GEMINI_CLI_TRUST_WORKSPACE": "true"}
    ran = place.run(command, mode=mode, client="gemini", env=variables)
    return ran, json.loads(ran.out) if ran.code == 0 else ran.err


def _folder(place: Place) -> Path:
    folder = place.home / ".gemini"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
