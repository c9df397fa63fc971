"""A Python program that obtains permits from `atlasent serve`.

    cargo run -p atlasent-cli -- serve                # prints its address and, the first time, an API key
    pip install atlasent
    ATLASENT_API_KEY=ask_test_... python examples/python_client.py
"""

import os

# The SDK refuses plain HTTP without this. A server on another machine has TLS.
os.environ.setdefault("ATLASENT_ALLOW_INSECURE_HTTP", "1")

from atlasent import AtlaSentClient
from atlasent.exceptions import AtlaSentDeniedError

client = AtlaSentClient(
    api_key=os.environ["ATLASENT_API_KEY"],
    base_url=os.environ.get("ATLASENT_BASE_URL", "http://127.0.0.1:8080"),
)


def deploy(commit: str, replicas: int) -> None:
    context = {"commit": commit, "replicas": replicas, "environment": "production"}
    permit = client.protect(agent="deploy-bot", action="deploy.production", context=context)
    print(f"{commit} goes to {replicas} replicas, by {permit.permit_hash[:12]}: {permit.reason}")


deploy("4f2a9c1", 3)
try:
    deploy("4f2a9c1", 500)
except AtlaSentDeniedError as refusal:
    print(f"500 replicas: {refusal}")
