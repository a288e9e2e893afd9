require "json"
require "sinatra"

known = JSON.parse(ENV["VCAP_APPLICATION"] || "{}")

set :logging, false # the line below goes to stdout, Sinatra's own to stderr

after { puts "#{request.request_method} #{request.path_info} #{response.status}" }

get "/" do
  content_type :text
  "Hello from #{known["application_name"] || "sinatra"}\n" \
    "instance index: #{ENV["CF_INSTANCE_INDEX"] || known["instance_index"] || "unknown"}\n"
end

get "/health" do
  content_type :text
  "ok\n"
end
