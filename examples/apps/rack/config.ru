require "json"

known = JSON.parse(ENV["VCAP_APPLICATION"] || "{}")
pages = {
  "/" => "Hello from #{known["application_name"] || "rack"}\n" \
         "instance index: #{ENV["CF_INSTANCE_INDEX"] || known["instance_index"] || "unknown"}\n",
  "/health" => "ok\n",
}

run lambda { |env|
  text = pages[env["PATH_INFO"]]
  status = text ? 200 : 404
  puts "#{env["REQUEST_METHOD"]} #{env["PATH_INFO"]} #{status}"
  [status, { "content-type" => "text/plain; charset=utf-8" }, [text || "not found\n"]]
}
