//! `--json`: the documents that HTTP has.

use serde_json::Value;

use crate::{
    code,
    common::{
        http::get,
        scene::{keys, scene},
    },
    getlock,
};

#[tokio::test]
async fn getlock_prints_the_documents_of_http() {
    let (server, mut clients) = scene().await;
    let id: u32 = clients[2].ask("CONNECTION_ID").await.parse().unwrap();
    assert_eq!(clients[2].ask("GET_LOCK over 0").await, "1");
    assert_eq!(code(&server, &["kill", &id.to_string()]).await, 0);
    for (task, path) in [
        (&["ls"][..], "/api/locks"),
        (&["why", "a"], "/api/lock/why/a"),
        (&["history", "over"], "/api/lock/history/over"),
        (&["sessions"], "/api/sessions"),
    ] {
        let output = getlock(server.addr, task).arg("--json").output().await.unwrap();
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let answered: Value = serde_json::from_str(&get(server.http, path).await.1).unwrap();
        assert_eq!(keys(&printed), keys(&answered), "{path}");
        assert_eq!(printed["locks"][0]["session"], answered["locks"][0]["session"]);
        assert_eq!(printed["holds"][0]["cause"], answered["holds"][0]["cause"]);
    }
}
