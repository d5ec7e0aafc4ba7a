// What every driver does, step by step: see steps.py.
const lines = require("readline").createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function say(word) {
  console.log(word);
  await lines.next();
}

function equal(got, wanted) {
  if (Number(got) !== wanted) throw new Error(`${got} is not ${wanted}`);
}

// `ask(sql, args)` is the first value of the first row.
module.exports = async (ask) => {
  equal(await ask("SELECT GET_LOCK('nightly', 10) AS x", []), 1);
  await say("held");
  equal(await ask("SELECT RELEASE_LOCK('nightly') AS x", []), 1);
  await say("released");
  equal(await ask("SELECT GET_LOCK(?, ?) AS x", ["nightly", 0]), 0);
  await say("refused");
  equal(await ask("SELECT GET_LOCK(?, ?) AS x", ["nightly", 10.5]), 1);
  equal(await ask("SELECT IS_USED_LOCK(?) = CONNECTION_ID() AS x", ["nightly"]), 1);
  await say("again");
  process.exit(0); // without a goodbye
};

module.exports.equal = equal;
module.exports.load = (name) => {
  try {
    return require(name);
  } catch {
    process.exit(77);
  }
};
module.exports.options = { host: "127.0.0.1", port: Number(process.argv[2]), user: "root", password: process.env.PASSWORD, database: "test" };
