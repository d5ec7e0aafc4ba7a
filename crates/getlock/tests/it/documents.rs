//! `--json`: the documents that HTTP has.

use serde_json::Value;

use crate::{
    common::{
        http::get,
        scene::{keys, scene},
    },
    getlock,
};

#[tokio::test]
async fn getlock_prints_the_http_documents() {
    let (server, _clients) = scene().await;
    for (task, path) in
        [(&["ls"][..], "/api/locks"), (&["why", "a"], "/api/lock/why/a"), (&["sessions"], "/api/sessions")]
    {
        let output = getlock(server.addr, task).arg("--json").output().await.unwrap();
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let answered: Value = serde_json::from_str(&get(server.http, path).await.1).unwrap();
        assert_eq!(keys(&printed), keys(&answered), "{path}");
        assert_eq!(printed["locks"][0]["session"], answered["locks"][0]["session"]);
    }
}
