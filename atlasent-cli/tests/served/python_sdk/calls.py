"""Calls of the Python SDK against a server that runs.

usage: calls.py PROMISE     runs one of the functions below; what breaks the promise is an exception
       calls.py             prints their names

`ATLASENT_BASE_URL` is the URL of the server, and each person has an API key in the environment. The
policies are those of `python_sdk.rs`.
"""

import asyncio
import hashlib
import hmac
import json
import os
import sys
import warnings
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import httpx
from atlasent import (
    AsyncAtlaSentClient,
    AtlaSentClient,
    AtlaSentDenied,
    AtlaSentDeniedError,
    AtlaSentError,
    FeatureNotEnabledError,
    verify_audit_bundle,
)
from atlasent.audit_bundle import VerifyKey
from atlasent.hitl import HitlCreateRequest, hitl_required_approver_count
from atlasent.v2_endpoints import authorize_stream, evaluate_many
from cryptography.hazmat.primitives.serialization import load_pem_public_key

# The SDK calls `verify` and others deprecated, and its own `protect` calls them.
warnings.simplefilter("ignore", DeprecationWarning)

URL = os.environ.get("ATLASENT_BASE_URL", "")
# The machine may be busy. Each failure is final.
SETTINGS = {"base_url": URL, "timeout": 60, "max_retries": 0}
CONTEXT = {"commit": "4f2a", "environment": "production", "token": "hunter2-hunter2", "cost": 1.5}
UNKNOWN = "esc_00000000000000000000000000000000"
PROMISES = {}


def promise(function):
    PROMISES[function.__name__] = function
    return function


def client(person):
    return AtlaSentClient(os.environ[person], **SETTINGS)


@contextmanager
def refused(status, text):
    try:
        yield
    except AtlaSentError as error:
        assert error.status_code == status and text in error.message, (error.status_code, error)
    else:
        raise AssertionError(f"it was not refused with {status} and {text}")


@contextmanager
def denied(decision, code):
    try:
        yield
    except AtlaSentDenied as error:
        assert (error.decision, error.deny_code) == (decision, code), error
        assert "hunter2" not in str(error), error
    else:
        raise AssertionError(f"it was not denied with {decision} and {code}")


def held(context=CONTEXT, action="release.deploy", person="AGENT", agent="bot"):
    """Asks, and returns the id of the decision that waits."""
    try:
        client(person).evaluate(action, agent, context)
    except AtlaSentDenied as hold:
        assert hold.decision == "hold", hold
        assert hold.permit_token and not hold.response_body.get("permit_token"), hold
        return hold.response_body["escalation_id"]
    raise AssertionError("it was allowed")


@promise
def two_approvers_release_a_held_call_once():
    agent, alice, bob = client("AGENT"), client("ALICE"), client("BOB")
    with denied("deny", "INSUFFICIENT_APPROVALS"):
        agent.protect(agent="bot", action="release.deploy", context=CONTEXT)
    escalation = held()
    row = agent.get_hitl_escalation(escalation).escalation
    assert (row.id, row.org_id, row.agent_id) == (escalation, "local", "bot"), row
    assert (row.status, row.escalation_reason) == ("pending", "a release needs two people"), row
    assert row.proposed_action["context"] == {**CONTEXT, "token": "[redacted]"}, row
    assert (row.assigned_to_role, row.fallback_decision) == ("release-manager", "reject"), row
    assert (row.quorum_progress.required, row.quorum_progress.remaining) == (2, 2), row
    assert datetime.fromisoformat(row.timeout_at) > datetime.fromisoformat(row.created_at), row

    for _ in range(2):
        row = alice.approve_hitl_escalation(escalation, note="the tests passed").escalation
        assert (row.status, row.quorum_progress.approved) == ("pending", 1), row
    assert held() == escalation
    result = bob.approve_hitl_escalation(escalation)
    row = result.escalation
    assert (row.status, row.resolved_by) == ("approved", "bob"), row
    assert row.quorum_progress.satisfied and row.resolved_at, row
    assert result.rate_limit.remaining < result.rate_limit.limit, result

    votes = agent.list_hitl_approvals(escalation).approvals
    votes = [(vote.user_id, vote.decision, vote.note) for vote in votes]
    assert votes == [("alice", "approve", "the tests passed"), ("bob", "approve", None)], votes

    permit = agent.protect(agent="bot", action="release.deploy", context=CONTEXT)
    assert permit.permit_hash and permit.audit_hash and permit.permit_expires_at, permit
    assert "alice" in permit.reason and "bob" in permit.reason, permit
    assert held() != escalation, "once only"


@promise
def the_asynchronous_client_is_held_and_released_as_well():
    alice = client("ALICE")

    async def ask(agent):
        return await agent.protect(agent="bot", action="database.migrate", context=CONTEXT)

    async def run():
        async with AsyncAtlaSentClient(os.environ["AGENT"], **SETTINGS) as agent:
            with denied("deny", None):
                await ask(agent)
            escalation = alice.list_hitl_escalations(status="pending").escalations[0].id
            events = [event async for event in agent.protect_stream("bot", "database.migrate", CONTEXT)]
            assert [(event.decision, event.is_final) for event in events] == [("hold", True)], events
            alice.approve_hitl_escalation(escalation)
            permit = await ask(agent)
            assert permit.permit_hash and "alice" in permit.reason, permit
            with denied("deny", None):
                await ask(agent)

            events = [event async for event in agent.protect_stream("bot", "report.read", CONTEXT)]
            assert [(event.decision, event.is_final) for event in events] == [("allow", True)], events
            verified = await agent.verify(events[0].permit_id, "report.read", "bot")
            assert verified.valid and verified.consumed, verified
            assert (await agent.key_self()).org_id == "local"

    asyncio.run(run())


@promise
def a_verification_names_the_approval():
    agent, alice = client("AGENT"), client("ALICE")
    escalation = held(action="database.migrate")
    alice.approve_hitl_escalation(escalation)
    allowed = agent.evaluate("database.migrate", "bot", CONTEXT)
    assert allowed.escalation_id == escalation, allowed
    verified = agent.verify(allowed.permit_token, "database.migrate", "bot", require_approval=True)
    assert verified.valid and verified.consumed, verified
    binding = verified.approval
    assert (binding.approval_id, binding.reviewer_id) == (escalation, "alice"), binding
    again = agent.verify(allowed.permit_token, "database.migrate", "bot")
    assert (again.valid, again.outcome) == (False, "permit_consumed"), again
    assert again.verify_error_code == "PERMIT_ALREADY_USED", again

    with denied("hold", "APPROVAL_REQUIRED"):
        agent.evaluate("report.read", "bot", CONTEXT, require_approval=True)
    unapproved = agent.evaluate("report.read", "bot", CONTEXT)
    verified = agent.verify(unapproved.permit_token, "report.read", "bot", require_approval=True)
    assert not verified.valid and verified.approval is None, verified
    assert verified.verify_error_code == "APPROVAL_LINKAGE_MISSING", verified


@promise
def a_vote_that_does_not_count_is_refused():
    alice, bob = client("ALICE"), client("BOB")
    escalation = held()
    for vote in ("approve_hitl_escalation", "reject_hitl_escalation"):
        with refused(403, "the scope `approve`"):
            getattr(client("AGENT"), vote)(escalation)
        with refused(403, "it takes role:release-manager"):
            getattr(client("IAN"), vote)(escalation)
        # Alice asks with another key of hers.
        own = held({**CONTEXT, "commit": "1c3d"}, person="ALICES_AGENT")
        with refused(403, "nobody can approve what they asked for themselves"):
            getattr(alice, vote)(own)

    alice.approve_hitl_escalation(escalation)
    with refused(409, "ALREADY_VOTED"):
        alice.reject_hitl_escalation(escalation)
    bob.approve_hitl_escalation(escalation)
    for call in (
        client("DORA").approve_hitl_escalation,
        client("DORA").reject_hitl_escalation,
        alice.escalate_hitl_escalation,
        alice.timeout_hitl_escalation,
    ):
        with refused(409, "ESCALATION_CLOSED"):
            call(escalation)
    assert alice.get_hitl_escalation(escalation).escalation.status == "approved"


@promise
def a_decision_that_the_caller_may_not_see_does_not_exist():
    alice, other = client("ALICE"), client("OTHER")
    of_the_agent = held()
    for caller, escalation in ((alice, UNKNOWN), (alice, "a/b"), (other, of_the_agent)):
        for call in (
            caller.get_hitl_escalation,
            caller.list_hitl_approvals,
            caller.get_hitl_chain,
            caller.escalate_hitl_escalation,
            caller.timeout_hitl_escalation,
        ):
            with refused(404, "ESCALATION_NOT_FOUND"):
                call(escalation)
    for escalation in (UNKNOWN, "a/b", "esc_1"):
        for call in (alice.approve_hitl_escalation, alice.reject_hitl_escalation):
            with refused(404, "ESCALATION_NOT_FOUND"):
                call(escalation)
    assert other.list_hitl_escalations().total == 0
    stranger = AtlaSentClient("ask_live_" + "0" * 43, **SETTINGS)
    with refused(401, "API key"):
        stranger.get_hitl_escalation(of_the_agent)


@promise
def a_rejection_is_final_and_reaches_the_agent():
    agent, alice = client("AGENT"), client("ALICE")
    escalation = held()
    row = alice.reject_hitl_escalation(escalation, note="not on a Friday").escalation
    assert (row.status, row.resolved_by, row.resolution_note) == (
        "rejected",
        "alice",
        "not on a Friday",
    ), row
    assert row.quorum_progress.rejected_terminal, row
    try:
        agent.protect(agent="bot", action="release.deploy", context=CONTEXT)
    except AtlaSentDeniedError as error:
        assert error.deny_code == "APPROVAL_REJECTED", error
        assert error.reason == "rejected by `alice`: not on a Friday", error
        assert not error.is_human_approval_required
    else:
        raise AssertionError("it was allowed")
    with refused(409, "ESCALATION_CLOSED"):
        client("BOB").approve_hitl_escalation(escalation)


@promise
def an_escalation_lets_the_next_approvers_decide():
    agent, alice, dora = client("AGENT"), client("ALICE"), client("DORA")
    escalation = held()
    with refused(403, "it takes role:release-manager"):
        dora.approve_hitl_escalation(escalation)
    with refused(403, "the scope `approve`"):
        agent.escalate_hitl_escalation(escalation)
    for elsewhere in ({"to_role": "intern"}, {"to_user_id": "ian"}):
        with refused(422, "the next step of the policies is role:director"):
            alice.escalate_hitl_escalation(escalation, **elsewhere)
    row = alice.escalate_hitl_escalation(
        escalation, to_role="director", reason="it is large"
    ).escalation
    assert (row.status, row.escalation_depth, row.max_escalation_depth) == ("escalated", 1, 1), row
    [hop] = agent.get_hitl_chain(escalation).chain
    assert (hop.depth, hop.escalated_by, hop.reason) == (1, "alice", "it is large"), hop
    assert (hop.from_role, hop.to_role) == ("release-manager", "director"), hop
    with refused(409, "ESCALATION_CHAIN_EXHAUSTED"):
        alice.escalate_hitl_escalation(escalation)
    dora.approve_hitl_escalation(escalation)
    assert alice.approve_hitl_escalation(escalation).escalation.status == "approved"
    assert agent.protect(agent="bot", action="release.deploy", context=CONTEXT).permit_hash


@promise
def a_decision_is_ended_by_those_who_asked_or_could_decide():
    for person in ("AGENT", "ALICE"):
        escalation = held()
        with refused(403, "it takes role:release-manager"):
            client("IAN").timeout_hitl_escalation(escalation)
        row = client(person).timeout_hitl_escalation(escalation).escalation
        assert (row.status, row.expired_reason) == ("timed_out", "manual_expire"), row
        assert (row.resolved_by == "alice") == (person == "ALICE"), row
        with refused(409, "ESCALATION_CLOSED"):
            client("BOB").approve_hitl_escalation(escalation)
        assert held() != escalation, "the same request is a new question"


@promise
def a_program_asks_people_by_hand():
    agent, alice, dora = client("AGENT"), client("ALICE"), client("DORA")
    ends = datetime.now(timezone.utc) + timedelta(days=2)
    wanted = HitlCreateRequest(
        agent_id="bot",
        escalation_reason="it cannot be undone",
        sandbox_run_id="run-1",
        governance_advisory_id="advisory-1",
        proposed_action={"action_type": "table.drop", "rows": 12, "share": 0.5},
        risk_score=0.75,
        assigned_to_role="release-manager",
        quorum_required="two_thirds",
        approver_pool_size=3,
        min_approvers=1,
        max_escalation_depth=1,
        fallback_decision="reject",
        timeout_at=ends.isoformat(),
    )
    row = agent.create_hitl_escalation(wanted).escalation
    assert row.proposed_action == wanted.proposed_action, row
    assert (row.risk_score, row.assigned_to_role) == (0.75, "release-manager"), row
    assert datetime.fromisoformat(row.timeout_at) == ends, row
    required = hitl_required_approver_count(row.quorum_required, row.approver_pool_size)
    assert required == row.quorum_progress.required == 2, row
    escalated = agent.escalate_hitl_escalation(row.id, to_role="director").escalation
    assert (escalated.status, escalated.escalation_depth) == ("escalated", 1), escalated
    assert escalated.assigned_to_role == "director", escalated
    with refused(409, "ESCALATION_CHAIN_EXHAUSTED"):
        agent.escalate_hitl_escalation(row.id, to_user_id="ian")
    for approver in (alice, dora):
        row = approver.approve_hitl_escalation(row.id).escalation
    assert row.status == "approved", row

    least = agent.create_hitl_escalation(
        HitlCreateRequest(agent_id="bot", escalation_reason="why")
    ).escalation
    assert (least.quorum_progress.required, least.proposed_action) == (1, {}), least
    for member, value in (
        ("fallback_decision", "approve"),
        ("approver_pool", [{"role": "release-manager"}]),
        ("quorum_threshold", 2),
        ("timeout_at", "2020-01-01T00:00:00Z"),
    ):
        request = HitlCreateRequest(agent_id="bot", escalation_reason="why", **{member: value})
        with refused(422, f"`{member}`"):
            agent.create_hitl_escalation(request)
    with refused(403, "the scope `evaluate`"):
        alice.create_hitl_escalation(HitlCreateRequest(agent_id="bot", escalation_reason="why"))


@promise
def a_list_holds_each_decision_once():
    agent, alice = client("AGENT"), client("ALICE")
    ids = [held({"commit": str(number)}) for number in range(5)]
    alice.reject_hitl_escalation(ids[0])
    assigned = HitlCreateRequest(
        agent_id="other-bot", escalation_reason="why", assigned_to_user_id="alice"
    )
    ids.append(agent.create_hitl_escalation(assigned).escalation.id)
    listed, cursor = [], None
    while True:
        page = alice.list_hitl_escalations(limit=2, cursor=cursor)
        assert len(page.escalations) <= 2 and page.rate_limit, page
        listed += [row.id for row in page.escalations]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert listed == ids[::-1], listed

    def found(**conditions):
        page = alice.list_hitl_escalations(**conditions)
        assert page.total == len(page.escalations), page
        return {row.id for row in page.escalations}

    assert found(agent_id="bot") == set(ids[:5])
    assert found(assigned_to_user_id="alice") == {ids[5]}
    assert found(status="pending") == set(ids[1:])
    assert found(status="rejected") == {ids[0]}
    for status in ("escalated", "approved", "auto_approved", "timed_out"):
        assert not found(status=status), status
    assert {row.id for row in agent.list_hitl_escalations().escalations} == set(ids)


@promise
def a_signed_approval_releases_its_request_once():
    agent = client("AGENT")
    bound = {
        "action_type": "database.migrate",
        "actor_id": "bot",
        "resource_id": "orders",
        "amount": None,
        "context": {"commit": "4f2a", "environment": "production"},
        "environment": "production",
        "policy_version": None,
    }
    now = datetime.now(timezone.utc)
    artifact = {
        "version": "approval_artifact.v1",
        "approval_id": "apr-1",
        "tenant_id": "local",
        "action_type": "database.migrate",
        "resource_id": "orders",
        "action_hash": hashlib.sha256(canonical(bound)).hexdigest(),
        "reviewer": {
            "principal_id": "ada",
            "principal_kind": "human",
            "roles": ["release-manager"],
        },
        "issuer": {"type": "approval_service", "issuer_id": "approvals.example", "kid": "k1"},
        "issued_at": now.isoformat(),
        "expires_at": (now + timedelta(hours=1)).isoformat(),
        "nonce": "nonce-of-the-test",
    }
    payload = canonical(artifact)
    key = bytes.fromhex(os.environ["ISSUER_KEY"])
    artifact["signature"] = hmac.new(key, payload, hashlib.sha256).hexdigest()

    def ask(artifact):
        return agent.evaluate(
            "database.migrate",
            "bot",
            bound["context"],
            resource_id="orders",
            environment="production",
            approval={"artifact": artifact},
        )

    with denied("deny", "APPROVAL_ARTIFACT_INVALID"):
        ask({**artifact, "approval_id": "apr-2"})
    allowed = ask(artifact)
    verified = agent.verify(
        allowed.permit_token, "database.migrate", "bot", environment="production"
    )
    binding = verified.approval
    assert verified.valid and binding.approval_id == "apr-1", verified
    assert binding.artifact_hash == hashlib.sha256(payload).hexdigest(), binding
    assert (binding.reviewer_id, binding.issuer_id) == ("ada", "approvals.example"), binding
    assert binding.kid == "k1", binding
    with denied("deny", "APPROVAL_ARTIFACT_INVALID"):
        ask(artifact)


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@promise
def permits_are_listed_looked_at_and_revoked():
    agent = client("AGENT")
    one, two = (agent.evaluate("report.read", "bot", CONTEXT) for _ in range(2))
    page = agent.list_permits(status="issued", actor_id="bot", action_type="report.read", limit=1)
    assert len(page.permits) == 1 and page.next_cursor, page
    last = agent.list_permits(status="issued", actor_id="bot", limit=1, cursor=page.next_cursor)
    assert last.permits[0].id != page.permits[0].id and last.next_cursor is None, last
    permit = page.permits[0]
    assert (permit.org_id, permit.action_id, permit.environment) == (
        "local",
        "report.read",
        "production",
    ), permit
    look = agent.verify_permit_by_id(permit.id)
    assert look.valid and look.evidence.status == "issued" and look.permit == permit, look
    revoked = agent.revoke_permit_by_id(permit.id, reason="not needed").permit
    assert (revoked.status, revoked.revoke_reason) == ("revoked", "not needed"), revoked
    assert agent.get_permit(permit.id).permit == revoked
    refusal = agent.verify(two.permit_token, "report.read", "bot")
    assert (refusal.valid, refusal.outcome) == (False, "permit_revoked"), refusal
    assert agent.revoke_permit(one.permit_token, reason="nor this").revoked
    with refused(404, "PERMIT_NOT_FOUND"):
        agent.get_permit("pt_" + "0" * 32)


@promise
def batches_and_preflights_are_read():
    agent = client("AGENT")
    items = [
        {"action_type": "report.read", "actor_id": "bot", "context": CONTEXT},
        {"action_type": "", "actor_id": "bot"},
        {"action_type": "database.drop", "actor_id": "bot"},
        {"action_type": "release.deploy", "actor_id": "bot"},
        {"action_type": "report.read", "actor_id": "bot", "shadow": True},
    ]
    batch = evaluate_many(agent, items, batch_id="7b99c22d-c14c-403b-8f9c-07783418fe4e")
    assert batch.batch_id == "7b99c22d-c14c-403b-8f9c-07783418fe4e" and batch.partial, batch
    decisions = [item.decision for item in batch.items]
    assert decisions == ["allow", "deny", "deny", "hold", "allow"], batch
    assert [item.index for item in batch.items] == [0, 1, 2, 3, 4], batch
    tokens = [bool(item.permit_token) for item in batch.items]
    assert tokens == [True, False, False, False, False], batch
    assert batch.items[1].error_code == "INVALID_FIELD" and batch.items[1].error_message, batch
    assert agent.verify(batch.items[0].permit_token, "report.read", "bot").valid
    # What this server lacks is what the SDK falls back from.
    try:
        authorize_stream(agent, items)
    except FeatureNotEnabledError:
        pass
    else:
        raise AssertionError("a stream of a batch was answered")

    preflight = agent.evaluate_preflight("database.drop", "bot", CONTEXT)
    assert preflight.evaluation.deny_code == "NEVER", preflight
    assert preflight.constraint_trace.matching_policy_id == "never", preflight
    for action, permitted in (("report.read", True), ("database.drop", False)):
        authorized = agent.authorize(agent="bot", action=action, context=CONTEXT)
        assert authorized.permitted == authorized.verified == permitted, authorized
    assert agent.gate("report.read", "bot", CONTEXT).verification.valid
    everything = agent.evaluate(
        "report.read",
        "bot",
        CONTEXT,
        resource_id="report-7",
        amount=12.5,
        environment="production",
        resource={"id": "report-7"},
        current_state={"rows": 1},
        proposed_state={"rows": 2},
        execution_binding={"host": "a"},
        state_snapshot={"source": "test", "complete": True},
    )
    assert everything.permitted and everything.rate_limit, everything


@promise
def the_trail_is_listed_and_its_export_verifies():
    agent, alice, bob = client("AGENT"), client("ALICE"), client("BOB")
    escalation = held()
    alice.approve_hitl_escalation(escalation)
    bob.approve_hitl_escalation(escalation)
    agent.protect(agent="bot", action="release.deploy", context=CONTEXT)
    page = agent.list_audit_events(actor_id="bot", limit=500)
    kinds = [event.type for event in page.events]
    assert sorted(kinds) == sorted(
        [
            "approval.requested",
            "evaluate.hold",
            "approval.voted",
            "approval.voted",
            "approval.granted",
            "evaluate.allow",
            "permit.verified",
        ]
    ), kinds
    assert page.total == len(kinds) and page.next_cursor is None, page
    bundle = agent.create_audit_export().bundle
    headers = {"Authorization": f"Bearer {agent.api_key}"}
    published = httpx.get(f"{URL}/v1-signing-keys", headers=headers).json()["keys"]
    keys = [
        VerifyKey(key["key_id"], load_pem_public_key(key["public_key_pem"].encode()))
        for key in published
    ]
    verified = verify_audit_bundle(bundle, keys)
    assert verified.verified and verified.matched_key_id == bundle["signing_key_id"], verified
    bundle["events"][-1]["payload"]["actor_id"] = "another-bot"
    assert not verify_audit_bundle(bundle, keys).verified
    assert "hunter2" not in json.dumps(bundle)


@promise
def a_key_tells_what_it_may_do():
    for person, scopes in (("AGENT", {"evaluate", "verify"}), ("ALICE", {"approve"})):
        key = client(person).key_self()
        assert (key.org_id, key.environment, key.client_ip) == ("local", "live", "127.0.0.1"), key
        assert scopes <= set(key.scopes) and key.rate_limit_per_minute > 0, key


if len(sys.argv) > 1:
    PROMISES[sys.argv[1]]()
else:
    print("\n".join(PROMISES))
