<?php
$known = json_decode(getenv('VCAP_APPLICATION') ?: '{}', true);
$name = $known['application_name'] ?? 'php';
$index = getenv('CF_INSTANCE_INDEX') !== false ? getenv('CF_INSTANCE_INDEX') : ($known['instance_index'] ?? 'unknown');
$pages = [
    '/' => "Hello from $name\ninstance index: $index\n",
    '/health' => "ok\n",
];
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$status = isset($pages[$path]) ? 200 : 404;
http_response_code($status);
header('Content-Type: text/plain; charset=utf-8');
echo $pages[$path] ?? "not found\n";
file_put_contents('php://stdout', "{$_SERVER['REQUEST_METHOD']} $path $status\n");
