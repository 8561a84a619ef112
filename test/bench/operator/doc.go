// Command operator measures the operator at scale: a thousand campaigns applied at once, ten thousand that have ended, and
// the time from applying to the first mail. The API server, MariaDB, Redis, the operator and a worker are processes of their
// own; mails go to a sink that takes each at once. `make bench-operator` runs it.
package main
