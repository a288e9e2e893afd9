package router

import "net/http"

// Sticky sessions (gorouter): an app that sets the cookie JSESSIONID gets a second cookie beside it that names the
// instance, and requests that bring both go to that instance as long as it is there.
const (
	sessionCookie  = "JSESSIONID"
	instanceCookie = "__VCAP_ID__"
)

func wantedInstance(req *http.Request) string {
	if _, err := req.Cookie(sessionCookie); err != nil {
		return ""
	}
	instance, err := req.Cookie(instanceCookie)
	if err != nil {
		return ""
	}
	return instance.Value
}

// stick adds the instance cookie to an answer that sets the session cookie. It lives as long as that.
func stick(response *http.Response) error {
	trip := tripOf(response.Request.Context())
	if trip.to.instance == "" {
		return nil
	}
	for _, session := range response.Cookies() {
		if session.Name != sessionCookie {
			continue
		}
		cookie := http.Cookie{
			Name: instanceCookie, Value: trip.to.instance, Path: "/", HttpOnly: true,
			Secure: session.Secure, SameSite: session.SameSite, MaxAge: session.MaxAge, Expires: session.Expires,
		}
		if text := cookie.String(); text != "" {
			response.Header.Add("Set-Cookie", text)
		}
		return nil
	}
	return nil
}
