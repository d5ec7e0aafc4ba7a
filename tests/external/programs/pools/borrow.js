// What every script of a pool does: see borrow.py.
const lines = require("readline").createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function say(word) {
  console.log(String(word));
  await lines.next();
}

// `ask(connection, sql)` is the value `x` of the first row.
exports.twoBorrowers = async (borrow, ask, giveBack) => {
  const take = "SELECT GET_LOCK('nightly', 0) AS x";
  const first = await borrow();
  if (Number(await ask(first, take)) !== 1) throw new Error("the lock was not free");
  await giveBack(first);
  await say("given back");
  const second = await borrow();
  await say("lent again");
  await say(await ask(second, take));
  process.exit(0);
};

exports.load = (name) => {
  try {
    return require(name);
  } catch {
    process.exit(77);
  }
};
exports.options = { host: "127.0.0.1", port: Number(process.argv[2]), user: "root", database: process.argv[3], connectionLimit: 1 };
exports.advised = process.argv[4] === "advised";
