// BullMQ's side of test_bullmq.py: puts jobs, or works until it is killed. A job appends its number to a file.
//
//     node bullmq_jobs.cjs put PORT FIRST LAST       prints each number when it is in the queue
//     node bullmq_jobs.cjs work PORT FILE
const fs = require("fs");
const { Queue, Worker } = require("bullmq");

const [what, port, ...rest] = process.argv.slice(2);
const connection = { host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: null };

async function put(first, last) {
  const queue = new Queue("jobs", { connection });
  queue.on("error", () => {});
  for (let number = first; number < last; number++) {
    await queue.add("record", { number }, { attempts: 3 });
    console.log(number);
  }
  await queue.close();
}

function work(path) {
  const record = async (job) => fs.appendFileSync(path, `${job.data.number}\n`);
  new Worker("jobs", record, { connection, concurrency: 4, lockDuration: 2000, stalledInterval: 1000 }).on("error", () => {});
}

if (what === "put") put(Number(rest[0]), Number(rest[1]));
else work(rest[0]);
