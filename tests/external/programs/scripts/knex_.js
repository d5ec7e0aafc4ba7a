const steps = require("../../drivers/steps.js");
const knex = steps.load("knex")({ client: "mysql2", connection: steps.options, pool: { min: 0, max: 1 } });

(async () => {
  steps.equal(await knex.schema.hasTable("knex_migrations"), 0);
  steps.equal(Object.keys(await knex("nightly").columnInfo()).length, 0);
  await knex.transaction((inside) => inside.raw("SELECT 1"), { isolationLevel: "read committed" });
  await steps(async (sql, args) => (await knex.raw(sql, args))[0][0].x);
})();
