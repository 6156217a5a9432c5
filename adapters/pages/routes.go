package pages

// A route is one page, or one thing that is done from it.
type route struct {
	pattern string
	do      func(*visit) error
	stream  bool // goes on until the browser leaves
}

// routes is all of the door.
var routes = []route{
	{"GET /{$}", home, false},
	{"GET /domains", listDomains, false},
	{"POST /domains", createDomain, false},
	{"GET /domains/{domain}/channels", listChannels, false},
	{"POST /domains/{domain}/channels", createChannel, false},
}

// Patterns returns the paths of this door, as http.ServeMux takes them.
func Patterns() []string {
	all := []string{"GET /assets/{name}"}
	for _, rt := range routes {
		all = append(all, rt.pattern)
	}
	return all
}
