const steps = require("../../drivers/steps.js");
const { drizzle } = steps.load("drizzle-orm/mysql2");
const { sql } = steps.load("drizzle-orm");
const database = drizzle(steps.load("mysql2/promise").createPool({ ...steps.options, connectionLimit: 1 }));

(async () => {
  await database.transaction((inside) => inside.execute(sql`SELECT 1`), { isolationLevel: "read committed", accessMode: "read only" });
  await steps(async (text, args) => {
    const parts = text.split("?").map((part) => sql.raw(part));
    const query = parts.slice(1).reduce((before, part, at) => sql`${before}${args[at]}${part}`, parts[0]);
    return (await database.execute(query))[0][0].x;
  });
})();
