// Package bullmq adds jobs to queues that workers built on the Node.js library BullMQ (npm bullmq, 5 and 6) work on. It
// is a producer only: nothing here takes jobs.
//
// BullMQ is not Bull: it uses the same names of keys, gives them other meanings, and wakes its workers by keys of its
// own. A queue is the one's or the other's, never both; CheckDialect refuses what is Bull's.
package bullmq
