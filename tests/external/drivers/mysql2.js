const steps = require("./steps.js");
const mysql = steps.load("mysql2/promise");

(async () => {
  const connection = await mysql.createConnection(steps.options);
  await connection.changeUser({ user: "other", password: process.env.PASSWORD });
  // Prepared where there are arguments.
  await steps(async (sql, args) => {
    const [rows] = args.length ? await connection.execute(sql, args) : await connection.query(sql);
    return rows[0].x;
  });
})();
