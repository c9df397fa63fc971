//! A quorum that a program in Python signed, with its `hashlib`, `hmac`, `json` and `cryptography`.

use atlasent::approval::{Expected, TrustedIssuers, verify_artifact, verify_quorum};
use serde_json::Value;

#[test]
fn what_python_signed_verifies_with_pythons_hashes() {
    let golden: Value = serde_json::from_str(include_str!("golden.json")).unwrap();
    let trusted = TrustedIssuers::parse(&golden["approval_issuers"].to_string())
        .and_then(|trusted| trusted.identity_issuers(&golden["identity_issuers"].to_string()))
        .unwrap();
    let now = golden["now"].as_str().unwrap().parse().unwrap();
    let expected = Expected::new("org-1", golden["action_hash"].as_str().unwrap())
        .action_type("deploy.production")
        .resource_id("cluster-7")
        .environment("production")
        .required_role("qa_reviewer")
        .require_identity_assertion();
    let quorum = verify_quorum(&golden["quorum"], &expected, &trusted, now).unwrap();
    assert_eq!(golden["quorum_hash"], quorum.quorum_hash.as_str());
    for (index, approval) in quorum.approvals.iter().enumerate() {
        assert_eq!(
            golden["artifact_hashes"][index],
            approval.artifact_hash.as_str()
        );
        let artifact = &golden["quorum"]["approvals"][index];
        assert_eq!(
            verify_artifact(artifact, &expected, &trusted, now).as_ref(),
            Ok(approval)
        );
    }
}
