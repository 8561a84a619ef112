// Package controllers reconciles EmailCampaign objects. It is not a library: what could be reused lives in internal.
//
// The reconciler writes the campaign into the ledger, rings its jobs, and reports what the ledger counts. Every fact
// that it decides on is read anew from the API server and the ledger: it remembers nothing between two loops.
package controllers
