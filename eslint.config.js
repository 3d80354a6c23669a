import tseslint from 'typescript-eslint'

/** Each driver is imported by exactly one file; the rest of the package sees that file's structural types. */
const drivers = {
  mysql2: 'src/mysql/driver.ts',
  amqplib: 'src/amqp/driver.ts',
  memjs: 'src/memcached/memjs-driver.ts',
  hashring: 'src/memcached/ketama.ts',
  'generic-pool': 'src/mysql/node-pool.ts',
}
const services = ['mysql', 'amqp', 'memcached']

const driverPatterns = (allowed) =>
  Object.keys(drivers)
    .filter((name) => !allowed.includes(name))
    .map((name) => ({
      regex: `^${name}(/|$)`,
      message: `'${name}' is imported in ${drivers[name]} only`,
    }))

const servicePatterns = (forbidden) =>
  forbidden.map((name) => ({
    regex: `(^|/)${name}(/|\\.js$)`,
    message: 'core knows no service, and services never import each other',
  }))

const restrict = (patterns) => ({ 'no-restricted-imports': ['error', { patterns }] })

/** `core` <- services <- `index`: one block per layer, one more per file that owns a driver. */
const layers = [
  { files: ['src/**/*.ts'], rules: restrict(driverPatterns([])) },
  { files: ['src/core/**/*.ts'], rules: restrict([...driverPatterns([]), ...servicePatterns(services)]) },
  ...services.map((service) => ({
    files: [`src/${service}/**/*.ts`],
    rules: restrict([...driverPatterns([]), ...servicePatterns(services.filter((other) => other !== service))]),
  })),
  ...Object.entries(drivers).map(([name, file]) => ({
    files: [file],
    rules: restrict([
      ...driverPatterns([name]),
      ...servicePatterns(services.filter((other) => !file.startsWith(`src/${other}/`))),
    ]),
  })),
]

export default tseslint.config(
  { ignores: ['dist/**', 'coverage/**', 'docs/api/**', '**/node_modules/**'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: { allowDefaultProject: ['*.js'] }, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/only-throw-error': ['error', { allowThrowingUnknown: true }],
      '@typescript-eslint/prefer-promise-reject-errors': ['error', { allowThrowingUnknown: true }],
    },
  },
  { files: ['src/**/*.ts'], rules: { 'no-console': 'error' } },
  ...layers,
  {
    files: ['**/*.js'],
    ...tseslint.configs.disableTypeChecked,
  },
)
