const steps = require("../../drivers/steps.js");
const { CompiledQuery, Kysely, MysqlDialect } = steps.load("kysely");
const pool = steps.load("mysql2").createPool({ ...steps.options, connectionLimit: 1 });

(async () => {
  const database = new Kysely({ dialect: new MysqlDialect({ pool }) });
  steps.equal((await database.introspection.getSchemas()).length > 1, 1);
  await database.transaction().setIsolationLevel("serializable").execute((inside) => inside.executeQuery(CompiledQuery.raw("SELECT 1")));
  await steps(async (sql, args) => (await database.executeQuery(CompiledQuery.raw(sql, args))).rows[0].x);
})();
