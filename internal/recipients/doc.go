// Package recipients reads the list of a campaign as a stream: CSV as spreadsheets write it, JSON Lines, plain lines, or
// the entries of a manifest. It checks and normalises every address, drops duplicates, and counts what it drops. Its
// memory does not grow with the list, except for 16 bytes per accepted address (see set).
//
// Three things can be wrong with a list. An address that can't be mailed is counted and its line number kept; the other
// entries go on. An address that was there before is counted and dropped. A list that can't be understood stops with a
// *SyntaxError that names the line. No error and no count ever holds an address.
package recipients
