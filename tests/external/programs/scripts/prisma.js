// Prisma's adapter, which does all that it says to a server; its query engine is downloaded when it is installed, from elsewhere.
const steps = require("../../drivers/steps.js");
const { PrismaMariaDb } = steps.load("@prisma/adapter-mariadb");

(async () => {
  const adapter = await new PrismaMariaDb({ ...steps.options, connectionLimit: 1 }).connect();
  const ask = async (on, sql, args) => {
    const argTypes = args.map(() => ({ scalarType: "string", arity: "scalar" }));
    return (await on.queryRaw({ sql, args, argTypes })).rows[0][0];
  };
  const transaction = await adapter.startTransaction("READ COMMITTED");
  steps.equal(await ask(transaction, "SELECT 1", []), 1);
  await transaction.commit();
  await steps((sql, args) => ask(adapter, sql, args));
})();
