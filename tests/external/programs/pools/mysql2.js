const { advised, load, options, twoBorrowers } = require("./borrow.js");
const pool = load("mysql2/promise").createPool({ ...options, ...(advised ? { resetOnRelease: true } : {}) });

twoBorrowers(
  () => pool.getConnection(),
  async (connection, sql) => (await connection.query(sql))[0][0].x,
  (connection) => connection.release(),
);
