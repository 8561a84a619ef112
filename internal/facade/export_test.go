package facade

import "net/http"

// Patterns are the routes of a handler that New returned.
func Patterns(handler http.Handler) []string { return handler.(*routes).patterns }
