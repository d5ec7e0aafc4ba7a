//! `--json`: the documents that HTTP has.

use serde_json::Value;

use crate::{
    common::{
        http::get,
        scene::{keys, scene},
    },
    getlock, output,
};

#[tokio::test]
async fn getlock_prints_the_http_documents() {
    let (server, mut clients, _store) = scene().await;
    let id: u32 = clients[2].ask("CONNECTION_ID").await.parse().unwrap();
    assert_eq!(clients[2].ask("GET_LOCK over 0").await, "1");
    assert_eq!(output(getlock(server.addr, &["kill", &id.to_string()])).await.0, 0);
    for (task, path) in [
        (&["ls"][..], "/api/locks"),
        (&["why", "a"], "/api/lock/why/a"),
        (&["waiters", "a"], "/api/lock/waiters/a"),
        (&["history", "over"], "/api/lock/history/over"),
        (&["sessions"], "/api/sessions"),
    ] {
        let mut listing = getlock(server.addr, task);
        listing.arg("--json");
        let printed: Value = serde_json::from_str(&output(listing).await.1).unwrap();
        let answered: Value = serde_json::from_str(&get(server.http, path).await.1).unwrap();
        assert_eq!(keys(&printed), keys(&answered), "{path}");
        assert_eq!(printed["locks"][0]["session"], answered["locks"][0]["session"]);
        assert_eq!(printed["holds"][0]["cause"], answered["holds"][0]["cause"]);
    }
}
