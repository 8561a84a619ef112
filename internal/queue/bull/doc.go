// Package bull speaks the Redis protocol of the Node.js library Bull 4 (npm bull 4.x): Node programs and this package add
// to the same queue and work on it side by side. Every change of state is one Lua script, so that no crash and no other
// client ever sees half of it.
//
// The guarantee is Bull's: a job runs at least once. A handler must be able to run twice, even at the same time.
package bull
