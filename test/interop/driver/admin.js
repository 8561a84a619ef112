'use strict';

// What dashboards and scripts do with a queue of Bull's.
module.exports = ({ Queue }) => {
  const job = async (q, id) => {
    const found = await q.getJob(id);
    if (!found) throw new Error('no job ' + id);
    return found;
  };
  const commands = {
    adminPromote: async (q, { id }) => (await job(q, id)).promote(),
    adminRetry: async (q, { id }) => (await job(q, id)).retry(),
    adminRemove: async (q, { id }) => (await job(q, id)).remove(),
    adminRemoveAll: async (q, { ids }) => {
      for (const id of ids) await (await job(q, id)).remove();
    },
    adminRetryFailed: q => q.retryJobs(),
    adminLogs: (q, { id, from, to }) => q.getJobLogs(id, from, to),
    adminMetrics: (q, { state }) => q.getMetrics(state),
    // of a queue whose limiter counts by group
    adminAddGrouped: async (q, { url, prefix, name, groupKey, data, opts }) => {
      const limited = new Queue(name, url, { prefix, limiter: { max: 1, duration: 1000, groupKey } });
      try {
        return String((await limited.add(data, opts)).id);
      } finally {
        await limited.close();
      }
    },
    adminJob: async (q, { id }) => {
      const found = await job(q, id);
      return { ...found.toJSON(), state: await found.getState() };
    }
  };
  // adminRefusal is why a command is refused; empty if it is not.
  commands.adminRefusal = async (q, request) => {
    try {
      await commands[request.command](q, request);
      return '';
    } catch (err) {
      return err.message;
    }
  };
  return commands;
};
