// Takes a lock, starts a command that outlives this process, says its number, and waits to be killed.
import { spawn } from "node:child_process";
import { GetLock } from "getlock";

const [, , port, name] = process.argv;
await new GetLock({ port: Number(port) }).acquire(name);
const command = spawn("sleep", ["60"], { detached: true, stdio: "ignore" });
command.unref();
console.log(command.pid);
