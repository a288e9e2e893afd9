// Package webxml changes single places of deployment descriptors (WEB-INF/web.xml) and leaves every other byte as it is.
//
// Documents come from apps that nobody trusts: there are bounds on size, depth and the number of elements, document type
// declarations are passed over, and entities but the five of XML are errors, so that none can multiply.
package webxml
