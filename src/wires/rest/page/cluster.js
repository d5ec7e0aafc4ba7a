// The nodes of a cluster, which of them leads, and the last changes of the leader. A server alone has none of it.
import { $, page } from "./state.js";
import { filled, make, since } from "./elements.js";
import { many, time } from "./words.js";

export function drawCluster() {
  const { cluster } = page.scene;
  $("cluster-part").hidden = !cluster;
  if (!cluster) return;
  const { node, term, leaderSince, nodes, lastChanges } = cluster;
  filled($("cluster-note"), [node, term, leaderSince], () => [`${node} leads for `, since(leaderSince), `, term ${term}`]);
  filled($("nodes"), nodes, () => nodes.map(drawNode));
  filled($("changes"), lastChanges, () => [...lastChanges].reverse().map(drawChange));
}

const ROLES = { leader: "leads", follower: "follows", lost: "lost: not heard of" };

function drawNode({ node, role, address, version, startedAt, relayed }) {
  const detail = make("span", { className: "detail" }, `${address} · version ${version} · up for `, since(startedAt));
  if (relayed) detail.append(` · relays ${many(relayed, "connection")}`);
  return make("li", { className: role }, make("strong", {}, node), " ", make("span", { className: "role" }, ROLES[role]), detail);
}

function drawChange({ at, leader, term, cause }) {
  return make("li", {}, `${time(at)} · `, leader ? `${leader} leads, term ${term}` : "nobody leads", ` · ${cause}`);
}
