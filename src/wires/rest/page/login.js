// Who looks, and how to log out, where the server has users.
import { $, page, url } from "./state.js";
import { make, setText } from "./elements.js";
import { leave } from "./stream.js";

export function drawLogin() {
  const { user } = page.scene;
  $("me").hidden = !user;
  setText($("me-name"), user ?? "");
}

/** A browser keeps a password until it is refused. With one of its own a request is refused without a question. */
function logOut() {
  const request = new XMLHttpRequest();
  request.open("GET", url("logout"), true, "logged-out", "-");
  request.addEventListener("loadend", () => {
    leave();
    page.left = true;
    const again = make("a", { href: url("") }, "Log in");
    document.body.replaceChildren(make("p", { className: "notice", role: "status" }, "You are logged out: this browser has forgotten your password. ", again));
  });
  request.send();
}

export function wireLogin() {
  $("log-out").addEventListener("click", logOut);
}
