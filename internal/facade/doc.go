// Package facade serves Cartero over HTTP, for programs that were written for the mail services that it replaces:
// POST /send-campaign, GET /jobs/{id}, GET /health, and the probes.
//
// A campaign is accepted once its rows are sealed in the database. The queue entry follows at once, or, where Redis is
// away, from the outbox's next sweep: the row is the truth. Until the seal nothing is visible to a worker, so that a
// crash or a client that goes away half-way mails nobody.
package facade
