<%@ page contentType="text/plain; charset=UTF-8" import="java.util.regex.*" trimDirectiveWhitespaces="true" %>
<%
  String known = System.getenv().getOrDefault("VCAP_APPLICATION", "{}");
  Matcher name = Pattern.compile("\"application_name\":\"([^\"]*)\"").matcher(known);
  out.print("Hello from " + (name.find() ? name.group(1) : "java_web") + "\n");
  out.print("instance index: " + System.getenv().getOrDefault("CF_INSTANCE_INDEX", "unknown") + "\n");
  System.out.println(request.getMethod() + " " + request.getRequestURI() + " 200");
%>
