// Package fetch gets files from the web for whoever writes a manifest, who may not be whom the cluster's network is open
// to. It speaks https only, to public addresses only unless the operator says otherwise, and decides that on the address
// that a connection is made to: whatever a name, a redirect or a changing DNS answer says, nothing inside can be reached.
//
// A file is downloaded once, within limits of size and time, into a temporary file that no directory lists. It can be read
// from its beginning as often as wanted, and is the same each time.
package fetch
